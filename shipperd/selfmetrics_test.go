package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/daemon/daemontest"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/skew"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/ship"
	"belabox-metrics/shipperd/internal/victoria"
)

// selfMetricsBench returns the self-metrics over a real file with one pending row.
func selfMetricsBench(t *testing.T) (m *selfMetrics, c config.Config) {
	t.Helper()
	c = config.Default()
	c.Storage.Path = filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "collectord"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(context.Background()) })
	pending := []store.Sample{{Series: store.NewSeries("dev", "a", store.Number), Value: 1}}
	if _, err := in.Insert(t.Context(), time.Now().Add(-time.Hour), pending); err != nil {
		t.Fatal(err)
	}
	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ob.Close(context.Background()) })
	return newSelfMetrics(ob, nil, meterLink(ob, c.Remote)), c
}

func (m *selfMetrics) point(t *testing.T, name string) float64 {
	t.Helper()
	for _, p := range m.set.Points() {
		if p.Name == name {
			return p.Value
		}
	}
	t.Fatalf("no number %s", name)
	return 0
}

func TestSelfMetrics_Gauges(t *testing.T) {
	t.Parallel()
	m, _ := selfMetricsBench(t)
	if got := m.point(t, "storage.metrics_pending_upload"); got != 1 {
		t.Errorf("pending %v, want 1", got)
	}
	if got := m.point(t, "storage.oldest_pending_seconds"); got < 3600 || got > 4200 {
		t.Errorf("oldest pending %v s, want an hour", got)
	}
	for _, p := range m.set.Points() {
		if p.Name == "time.skew_ms" {
			t.Errorf("a skew of %v without anybody to compare with", p.Value)
		}
	}
}

// The series of the interface does not end with a restart, nor with one before the first upload.
func TestSelfMetrics_InterfaceSurvivesARestart(t *testing.T) {
	t.Parallel()
	first, c := selfMetricsBench(t)
	if err := first.outbox.SaveStats(t.Context(), []store.Stat{{Name: "link.interface", Tags: `{"interface":"wwan0"}`, Kind: "gauge", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m := newSelfMetrics(first.outbox, nil, meterLink(first.outbox, c.Remote))
		if err := m.restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.save(t.Context()); err != nil {
			t.Fatal(err)
		}
		stats, err := first.outbox.Stats(t.Context(), "shipperd")
		if err != nil {
			t.Fatal(err)
		}
		if name := link.Interface(stats); name != "wwan0" {
			t.Fatalf("after a restart: got %q, want wwan0", name)
		}
	}
}

// Totals go on over a restart, by way of daemon_stats.
func TestSelfMetrics_TotalsSurviveARestart(t *testing.T) {
	t.Parallel()
	first, _ := selfMetricsBench(t)
	first.took(300 * time.Millisecond)
	first.ships(nil, func() (sent, received int64) { return 1000, 50 }, nil)
	if err := first.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := newSelfMetrics(first.outbox, nil, meterLink(first.outbox, config.Default().Remote))
	if err := second.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.took(2 * time.Second)
	second.ships(nil, func() (sent, received int64) { return 10, 5 }, nil)
	for name, want := range map[string]float64{
		"uploader.bytes_sent_total": 1010, "uploader.bytes_received_total": 55,
		"uploader.upload_duration_seconds_count": 2, "uploader.upload_duration_seconds_sum": 2.3,
	} {
		if got := second.point(t, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestSelfMetrics_AgeIsNeverNegative(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_790_000_000_000)
	for _, c := range []struct {
		backlog store.Backlog
		want    float64
	}{
		{store.Backlog{}, 0},
		{store.Backlog{Rows: 1, OldestMS: now.UnixMilli() - 1500}, 1.5},
		{store.Backlog{Rows: 1, OldestMS: now.UnixMilli() + 60_000}, 0}, // the clock was set back
	} {
		if got := age(c.backlog, now); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.backlog, got, c.want)
		}
	}
}

func TestHealthSource(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	started := time.Now()
	in := healthSource(c, m, started)(t.Context())
	if f := in.Storage.Found; len(f) != 1 || f[0].Code != "collectord_away" || (time.Since(f[0].Since)-time.Hour).Abs() > 10*time.Minute {
		t.Errorf("without collectord: got %+v, want it away since the newest row", f)
	}
	if f := in.Time.Found; len(f) != 1 || f[0].Code != "clock_unchecked" || f[0].Severity != health.OK {
		t.Errorf("time: %+v, want a note that the clock is not compared", f)
	}
	if in.Storage.Pending != 1 || in.Storage.OldestPending.IsZero() || in.Storage.WALBytes == 0 {
		t.Errorf("storage: %+v", in.Storage)
	}
	if len(in.Uploader.Found) != 0 || !in.Uploader.Started.Equal(started) || in.Collectors != nil {
		t.Errorf("uploader: %+v", in.Uploader)
	}
	c.Remote.Verify.Enabled = false
	in = healthSource(c, m, started)(t.Context())
	if len(in.Uploader.Found) != 1 || in.Uploader.Found[0].Code != "unproven" || in.Uploader.Found[0].Severity != health.Degraded {
		t.Errorf("without verification: %+v, want to be told that delivery is unproven", in.Uploader.Found)
	}
	c.Remote.Enabled = false
	in = healthSource(c, m, started)(t.Context())
	if f := in.Uploader.Found; len(f) != 1 || f[0].Code != "uploads_off" || f[0].Severity != health.OK {
		t.Errorf("switched off: %+v, want a note and no more", f)
	}

	held, err := lock.Acquire(c.Storage.Path + ".collectord.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release() //nolint:errcheck // the test ends
	if f := healthSource(c, m, started)(t.Context()).Storage.Found; len(f) != 0 {
		t.Errorf("with collectord: got %+v", f)
	}
	since := time.Now().Add(-time.Minute)
	f := m.storage(t.Context(), c, ship.Counts{StoreError: "disk full", StoreFailing: since}).Found
	if len(f) != 1 || f[0].Code != "delivery_waits" || f[0].Severity != health.Error || !f[0].Since.Equal(since) || !strings.Contains(f[0].Message, "disk full") {
		t.Errorf("with a full disk: %+v", f)
	}
}

// The clock that is asked and does not answer is a note; one that answers a fact.
func TestHealthSource_Clock(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	}))
	defer server.Close()
	c.Monitoring.ClockSkewURL = server.URL
	m.clock = skew.New(skew.Config{URL: server.URL, Interval: time.Hour}, skew.Deps{Log: slog.New(slog.DiscardHandler)})
	if got := m.clockState(c, ship.Counts{}); len(got.Found) != 1 || got.Found[0].Code != "clock_unknown" || !got.Checked.IsZero() {
		t.Errorf("without an answer: got %+v", got)
	}
	asked := time.Now()
	go m.clock.Run(t.Context()) //nolint:errcheck // the test ends
	var got *health.Clock
	testkit.Eventually(t, testkit.WaitLimit, "the skew", func() bool {
		got = m.clockState(c, ship.Counts{})
		return len(got.Found) == 0
	})
	// The header has whole seconds, and half of the time that the answer took is guessed.
	limit := time.Second + got.Checked.Sub(asked)
	if off := time.Duration(got.SkewMS)*time.Millisecond - time.Hour; off.Abs() > limit || got.Source != server.URL {
		t.Errorf("got %+v, want an hour within %v", got, limit)
	}
}

// Samples that wait although the server answers have a condition of their own.
func TestHealthSource_TimeUnconfirmed(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	f := func(since time.Time, want bool) {
		t.Helper()
		found := m.clockState(c, ship.Counts{Unconfirmed: since, UnconfirmedWhy: errors.New("test")}).Found
		if got := slices.ContainsFunc(found, func(a health.Active) bool { return a.Code == "time_unconfirmed" }); got != want {
			t.Errorf("since %v: got %+v, want %v", since, found, want)
		}
	}
	f(time.Now(), true)
	f(time.Time{}, false)
}

// Without an address to ask, a clock that is grossly off shows by the server's answers.
func TestHealthSource_ClockByTheServer(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	f := func(by time.Duration, heard bool, want string) {
		t.Helper()
		m.ships(nil, nil, func() (time.Duration, time.Time, bool) { return by, time.Now(), heard })
		clock := m.clockState(c, ship.Counts{})
		r := health.Evaluate(health.Input{Time: clock}, health.LimitsOf(c), time.Now()).Conditions
		if len(r) != 1 || r[0].Code != want {
			t.Errorf("%v ahead: got %+v, want %s", by, r, want)
		}
		if want == "clock_skew" && (clock.SkewMS != by.Milliseconds() || clock.Source != c.Remote.URL) {
			t.Errorf("got %+v", clock)
		}
	}
	f(24*time.Hour, true, "clock_skew")
	f(-24*time.Hour, true, "clock_skew")
	f(24*time.Hour, false, "clock_unchecked")
	f(40*time.Second, true, "clock_unchecked")
}

// Every metric of the table is there, and nothing else is; those with labels before anything
// happens.
func TestSelfMetrics_Table(t *testing.T) {
	t.Parallel()
	m, _ := selfMetricsBench(t)
	page := daemontest.Table(t, &m.set, metrics.Shipperd)
	for _, line := range []string{
		`uploader_metrics_rejected_total{reason="rejected"} 0`, `uploader_metrics_rejected_total{reason="not_stored"} 0`,
		`storage_metrics_dropped_total{reason="size"} 0`, `agent_panics_total{daemon="shipperd"} 0`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("the page lacks %s", line)
		}
	}
}

// What could not be delivered is a note, since the first of it.
func TestHealthSource_DeadLetters(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	if f := m.uploader(t.Context(), c, ship.Counts{}, time.Now()).Found; len(f) != 0 {
		t.Errorf("without: got %+v", f)
	}
	rows, err := m.outbox.Pending(t.Context(), 0, 1, nil)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if err := m.outbox.MoveToDeadLetters(t.Context(), []store.Rejection{{Key: rows[0].Key, Reason: "rejected"}}); err != nil {
		t.Fatal(err)
	}
	f := m.uploader(t.Context(), c, ship.Counts{}, time.Now()).Found
	if len(f) != 1 || f[0].Code != "dead_letters" || f[0].Severity != health.OK || time.Since(f[0].Since).Abs() > 10*time.Minute {
		t.Errorf("got %+v, want a note since now", f)
	}
}

// A server whose retention is shorter than the backlog answers well to all of it; the age of the
// oldest sample says why.
func TestHealthSource_NotKept(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	since := time.Now().Add(-time.Minute)
	f := m.uploader(t.Context(), c, ship.Counts{Unkept: time.Now().Add(-5 * 24 * time.Hour), UnkeptSince: since}, time.Now()).Found
	if len(f) != 1 || f[0].Code != "not_kept" || f[0].Severity != health.Degraded || !f[0].Since.Equal(since) ||
		!strings.Contains(f[0].Message, "(5 days ago)") {
		t.Errorf("got %+v", f)
	}
}

// A shipperd that was started again knows when it last uploaded: one that is restarted
// every minute and never uploads says so. Before it ever did, its start counts.
func TestHealthSource_LastUploadOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	started := time.Now()
	last := func() *health.Uploader {
		t.Helper()
		if err := m.restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		return healthSource(c, m, started)(t.Context()).Uploader
	}
	if u := last(); !u.LastUpload.IsZero() {
		t.Errorf("before the first upload: got %v, want none", u.LastUpload)
	}
	rows, err := m.outbox.Pending(t.Context(), 0, 1, nil)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	upload := func(at time.Time) {
		t.Helper()
		chunk := &store.Chunk{BatchID: at.String(), Keys: store.KeySet{rows[0].Key}, Created: at, Attempted: at, Accepted: at}
		if err := m.outbox.RecordSending(t.Context(), chunk); err != nil {
			t.Fatal(err)
		}
		if err := m.outbox.MarkUploaded(t.Context(), chunk, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	before := started.Add(-11 * time.Minute)
	upload(before)
	u := last()
	if u.LastUpload.UnixMilli() != before.UnixMilli() || !u.Started.Equal(started) {
		t.Errorf("got %+v, want the upload of the run before, at %v", u, before)
	}
	in := health.Input{Uploader: u, Storage: &health.Storage{Pending: 10_001}}
	if r := health.Evaluate(in, health.LimitsOf(c), started); r.Status != health.Error || r.Conditions[0].Code != "upload_stalled" {
		t.Errorf("got %v %+v, want upload_stalled at once", r.Status, r.Conditions)
	}
	if u := m.uploader(t.Context(), c, ship.Counts{LastAccepted: started.Add(time.Second)}, started); !u.LastUpload.Equal(started.Add(time.Second)) {
		t.Errorf("got %v, want the upload of this run", u.LastUpload)
	}
	upload(started.Add(time.Hour)) // by a clock that was set back since
	if u := last(); !u.LastUpload.IsZero() {
		t.Errorf("got %v, a time that has not come", u.LastUpload)
	}
}

// A server that takes everything and answers no question: nothing is lost and nothing
// proven, which is worth a word when it lasts.
func TestHealthSource_Unread(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	f := func(class victoria.Class, ago time.Duration, unproven bool, want ...string) {
		t.Helper()
		since := time.Now().Add(-ago)
		fault := &victoria.Error{Class: class, Err: errors.New("HTTP 500")}
		counts := ship.Counts{ReadError: fault, ReadFailing: since, Unproven: unproven, LastAccepted: time.Now()}
		var codes []string
		for _, r := range m.uploader(t.Context(), c, counts, time.Now()).Found {
			codes = append(codes, r.Code)
			if (r.Code == "unread" || r.Code == "reads_refused") && (!r.Since.Equal(since) || r.Severity != health.Degraded || !strings.Contains(r.Message, "HTTP 500")) {
				t.Errorf("got %+v", r)
			}
		}
		if !slices.Equal(codes, want) {
			t.Errorf("for %v, unproven %v: got %q, want %q", ago, unproven, codes, want)
		}
	}
	f(victoria.ClassServer, 9*time.Minute, false)
	f(victoria.ClassServer, 11*time.Minute, false, "unread")
	f(victoria.ClassServer, 11*time.Minute, true, "unproven") // it is not asked at all
	for _, refused := range []victoria.Class{victoria.ClassAuth, victoria.ClassRejected, victoria.ClassRedirect, victoria.ClassStranger} {
		f(refused, 50*time.Second, false)
		f(refused, 70*time.Second, false, "reads_refused")
	}
}

// Nothing shows of what was sent; or it was dropped before it could be read back.
func TestHealthSource_NotVisible(t *testing.T) {
	t.Parallel()
	m, c := selfMetricsBench(t)
	now := time.Now()
	counts := ship.Counts{LastAccepted: now, NotVisible: now.Add(-time.Hour), NotVisibleSince: now.Add(-time.Minute), FreedUnproven: now.Add(-50 * time.Minute)}
	var codes []string
	for _, r := range m.uploader(t.Context(), c, counts, now).Found {
		codes = append(codes, r.Code)
	}
	if want := []string{"not_visible", "unproven_dropped"}; !slices.Equal(codes, want) {
		t.Errorf("got %q, want %q", codes, want)
	}
	counts.FreedUnproven, counts.NotVisible = now.Add(-2*time.Hour), time.Time{}
	if found := m.uploader(t.Context(), c, counts, now).Found; len(found) > 0 {
		t.Errorf("got %+v", found)
	}
}

// TestUploadFailing: the series of a cause goes on with 0, also that of an earlier run.
func TestUploadFailing(t *testing.T) {
	t.Parallel()
	m := &selfMetrics{failing: map[string]int64{"closed": 0}}
	f := func(err error, want map[string]int64) {
		t.Helper()
		if got := m.uploadFailing(ship.Counts{LastError: err}); !maps.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
	f(nil, map[string]int64{"closed": 0})
	f(&victoria.Error{Status: 401, Class: victoria.ClassAuth}, map[string]int64{"closed": 0, "credentials": 1})
	f(errors.New("strange"), map[string]int64{"closed": 0, "credentials": 0, "other": 1})
	f(nil, map[string]int64{"closed": 0, "credentials": 0, "other": 0})
}

// Why uploads fail is saved for collectord's page and the command status, which read the file.
func TestFailing(t *testing.T) {
	t.Parallel()
	f := func(c ship.Counts, want ...string) {
		t.Helper()
		if got := failing(c); !slices.Equal(got, want) {
			t.Errorf("%+v: got %q, want %q", c, got, want)
		}
	}
	f(ship.Counts{})
	refused := &victoria.Error{Status: 401, Class: victoria.ClassAuth}
	f(ship.Counts{LastError: refused}, "credentials")
	f(ship.Counts{LastError: errors.New("strange")}, "other")
	f(ship.Counts{ReadError: refused, ReadFailing: time.Now().Add(-2 * time.Minute)}, "reads_refused")
	f(ship.Counts{ReadError: refused, ReadFailing: time.Now()})
	f(ship.Counts{LastError: refused, NotVisible: time.Now(), Unkept: time.Now()}, "credentials", "not_visible", "not_kept")
}
