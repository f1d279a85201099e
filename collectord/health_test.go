package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/store/storetest"
)

func at(second int64, results ...schedule.Result) *schedule.Tick {
	return &schedule.Tick{Time: time.Unix(second, 0), Results: results}
}

func TestVitals_Sources(t *testing.T) {
	t.Parallel()
	v := newVitals()
	bad := schedule.Result{Collector: "thermal", Errors: []error{errors.New("zone 3 is dead"), errors.New("zone 4 too")}}
	v.tick(at(100, schedule.Result{Collector: "cpu"}, bad, schedule.Result{Collector: "wireless", Unsupported: true}))
	v.tick(at(110, schedule.Result{Collector: "cpu", Err: errors.New("truncated")}, bad))
	list := v.collectors(time.Unix(120, 0)).List
	if len(list) != 2 || list[0].Name != "cpu" || list[1].Name != "thermal" {
		t.Fatalf("got %+v, want cpu and thermal", list)
	}
	cpu, thermal := list[0], list[1]
	if !cpu.LastSuccess.Equal(time.Unix(100, 0)) || !cpu.FailingSince.Equal(time.Unix(110, 0)) || cpu.Error != "truncated" {
		t.Errorf("cpu: %+v", cpu)
	}
	if !thermal.FailingSince.Equal(time.Unix(100, 0)) || thermal.Error != "2 failed, the first: zone 3 is dead" {
		t.Errorf("thermal: %+v, want it failing since its first failure", thermal)
	}
	v.tick(at(120, schedule.Result{Collector: "cpu"}))
	if cpu := v.collectors(time.Unix(120, 0)).List[0]; !cpu.FailingSince.IsZero() || cpu.Error != "" || !cpu.LastSuccess.Equal(time.Unix(120, 0)) {
		t.Errorf("cpu after recovery: %+v", cpu)
	}
}

func TestVitals_Storage(t *testing.T) {
	t.Parallel()
	v := newVitals()
	v.stored(time.Unix(100, 0), nil)
	if f := v.notStored(); f != nil {
		t.Errorf("got %v, want none", f)
	}
	v.stored(time.Unix(110, 0), errors.New("disk full"))
	v.stored(time.Unix(120, 0), errors.New("disk still full"))
	f := v.notStored()
	if len(f) != 1 || f[0].Severity != health.Error || !f[0].Since.Equal(time.Unix(110, 0)) || !strings.Contains(f[0].Message, "samples of 2 ticks lost: disk still full") {
		t.Errorf("got %+v, want one error since the first failure", f)
	}
	v.stored(time.Unix(130, 0), nil)
	if f := v.notStored(); f != nil {
		t.Errorf("after recovery: %v", f)
	}
}

// Stopping shipperd shows in collectord's report, from the lock file, and its
// numbers, the clock's skew among them, come from the store.
func TestHealthSource(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Storage.Path = filepath.Join(t.TempDir(), "metrics.db")
	c.Remote.MonthlyBudgetMB = 1
	in, err := store.OpenInserter(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "collectord"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test ends
	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	defer ob.Close(t.Context()) //nolint:errcheck // the test ends
	if _, err := in.Insert(t.Context(), time.Unix(1_790_000_000, 0), []store.Sample{{Series: store.NewSeries("d", "a", store.Number)}}); err != nil {
		t.Fatal(err)
	}
	if err := ob.SaveStats(t.Context(), []store.Stat{
		{Name: "time.skew_ms", Tags: "{}", Kind: "gauge", Value: -2500}, {Name: "link.upload_interval_seconds", Tags: "{}", Kind: "gauge", Value: 60},
	}); err != nil {
		t.Fatal(err)
	}
	ob.MeterTraffic(func() (sent, received int64) { return 1_000_000, 1_000_000 }, clock.Read)
	if err := ob.BookTraffic(t.Context()); err != nil {
		t.Fatal(err)
	}
	source := healthSource(c, newVitals(), in)

	got := source(t.Context())
	if f := got.Storage.Found; len(f) != 1 || f[0].Code != "shipperd_away" || time.Since(f[0].Since).Abs() > 10*time.Minute {
		t.Errorf("without shipperd: got %+v, want it away since it last saved its numbers", f)
	}
	if got.Storage.Pending != 1 || !got.Storage.OldestPending.Equal(time.Unix(1_790_000_000, 0)) {
		t.Errorf("storage: %+v, want one row, of then", got.Storage)
	}
	if got.Time.SkewMS != -2500 || got.Time.Checked.IsZero() {
		t.Errorf("time: %+v, want what shipperd saved", got.Time)
	}

	// What shipperd has saved is the interval of the next upload. That of the last one counts until
	// then, when a month begins (link.Use.Slack).
	if got.Stretch != 5 {
		t.Errorf("stretch %v, want 5: the budget is used up, and the last upload was due after 5m, not 1m", got.Stretch)
	}

	held, err := lock.Acquire(c.Storage.Path + ".shipperd.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release() //nolint:errcheck // the test ends
	if got := source(t.Context()); len(got.Storage.Found) != 0 {
		t.Errorf("with shipperd: got %+v", got.Storage.Found)
	}
}

// The clock is known from shipperd alone, and only while it is there to look.
func TestClockOf(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := config.Default()
	f := func(what, url string, stats []store.Stat, wantCode string) {
		t.Helper()
		c.Monitoring.ClockSkewURL = url
		got := clockOf(c, stats, now)
		code := ""
		if len(got.Found) > 0 {
			code = got.Found[0].Code
		}
		if code != wantCode || got.Checked.IsZero() != (code != "") || (code == "" && got.SkewMS != 40) {
			t.Errorf("%s: got %+v, want the note %q", what, got, wantCode)
		}
	}
	skew := func(ago time.Duration) []store.Stat {
		return []store.Stat{{Name: "uploader.bytes_sent_total"}, {Name: "time.skew_ms", Value: 40, Updated: now.Add(-ago)}}
	}
	const url = "http://time.example/"
	f("compared", url, skew(time.Minute), "")
	f("compared long ago", url, skew(time.Hour), "clock_unknown")
	f("never compared", url, nil, "clock_unknown")
	f("not to be compared", "", nil, "clock_unchecked")
}

// The clock is called wrong where it is wrong for certain, or where samples wait for the true time.
func TestClockUnset(t *testing.T) {
	t.Parallel()
	const now = int64(1_790_000_000_000)
	c := config.Default()
	f := func(what string, remote bool, at clock.Moment, e store.Epoch, want bool) {
		t.Helper()
		c.Remote.Enabled = remote
		got := clockUnset(c, at, func() (store.Timeline, error) { return store.Timeline{{How: store.HowUnconfirmed}, e}, nil })
		if (len(got) == 1) != want || want && (got[0].Code != "clock_unset" || !strings.Contains(got[0].Message, "2026-09-21 14:")) {
			t.Errorf("%s: got %+v, want it: %v", what, got, want)
		}
	}
	at := func(s clock.Sync) clock.Moment {
		return clock.Moment{Wall: time.UnixMilli(now), Boot: time.Hour, BootID: "a", Sync: s}
	}
	epoch := func(age time.Duration, offset int64, how store.How) store.Epoch {
		return store.Epoch{First: store.PackKey(now-age.Milliseconds()-offset, 0), Boot: "a", WallOffset: offset, How: how}
	}
	f("synchronised", true, at(clock.Yes), epoch(time.Hour, -5000, ""), false)
	f("behind the file", false, at(clock.Unknown), epoch(0, -120_000, ""), true)
	f("set back by seconds", false, at(clock.Unknown), epoch(0, -60_000, ""), false)
	f("far ahead of the file", false, at(clock.No), epoch(0, 60_000, ""), true)
	f("behind, and known", true, at(clock.No), epoch(0, -120_000, store.HowServer), false)
	f("never synchronised", true, at(clock.No), epoch(time.Minute, 0, ""), true)
	f("not yet synchronised", true, at(clock.No), epoch(time.Minute-time.Second, 0, ""), false)
	f("nobody can tell", true, at(clock.Unknown), epoch(time.Hour, 0, ""), false)
	f("nobody waits for it", false, at(clock.No), epoch(time.Hour, 0, ""), false)
	f("the server knows", true, at(clock.No), epoch(time.Hour, 0, store.HowServer), false)
	f("an epoch of before", true, at(clock.No), store.Epoch{Boot: "b", WallOffset: -9}, false)
	f("before the first tick", true, clock.Moment{}, epoch(time.Hour, -5, ""), false)
	got := clockUnset(c, at(clock.No), func() (store.Timeline, error) { return nil, errors.New("damaged") })
	if got != nil {
		t.Errorf("without an answer of the file: %+v", got)
	}
}

// A reader that never ends its transaction keeps the WAL from being emptied. The
// report says so, and no more when it has ended.
func TestWALLarge(t *testing.T) {
	t.Parallel()
	c := config.Default()
	if got := walLarge(c, 64<<20); got != nil {
		t.Errorf("64 MB: got %+v, want nothing", got)
	}
	if got := walLarge(c, 64<<20+1); len(got) != 1 || got[0].Code != "wal_large" || got[0].Severity != health.Degraded {
		t.Errorf("above 64 MB: got %+v", got)
	}

	c.Storage.Path = filepath.Join(t.TempDir(), "metrics.db")
	c.Storage.WALCheckpointSizeMB = 1
	c.Remote.Enabled = false
	in, err := store.OpenInserter(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "collectord"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test ends
	source := healthSource(c, newVitals(), in)
	release := storetest.Read(t, c.Storage.Path)
	series := store.NewSeries("d", "a", store.Text)
	for second := int64(0); store.WALSize(c.Storage.Path) <= 1<<20; second++ {
		text := store.Sample{Series: series, Text: strings.Repeat("x", 64<<10)}
		if _, err := in.Insert(t.Context(), time.Unix(1_790_000_000+second, 0), []store.Sample{text}); err != nil {
			t.Fatal(err)
		}
	}
	faults := func() (codes []string) {
		t.Helper()
		if _, err := in.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, f := range source(t.Context()).Storage.Found {
			codes = append(codes, f.Code)
		}
		return codes
	}
	if got := faults(); !slices.Equal(got, []string{"wal_large"}) {
		t.Errorf("with a reader: got %v", got)
	}
	release()
	if got := faults(); len(got) != 0 {
		t.Errorf("without it: got %v", got)
	}
}
