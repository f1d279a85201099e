package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/truetime"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 10)
	b.deliver(store.Verified)
	b.insert(10, 12)
	b.deliver(store.Accepted)
	b.insert(12, 15)
	b.reject("rejected", "rejected", "not_stored")

	held, err := lock.Acquire(b.path + ".collectord.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release() //nolint:errcheck // it ends with the test
	stdout, _ := b.run(0, "status")
	wantText(t, stdout, b.path, "starting, process", "not running; last run stopped", "3 samples, the oldest from",
		"accepted: 1 chunk with 4 samples", "rejected 2, not_stored 1", "30  adds up", "Start shipperd", "`belabox-shipperd deadletter list`")
	if strings.Contains(stdout, "Start collectord") {
		t.Errorf("the advice to start what runs:\n%s", stdout)
	}

	stdout, _ = b.run(0, "status", "-json")
	var got statusReport
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := ledger{Inserted: 30, Pending: 3, Accepted: 4, Verified: 20, Rejected: 3, Dropped: map[string]int64{}}
	if l := got.Ledger; l.Inserted != want.Inserted || l.Pending != want.Pending || l.Accepted != want.Accepted ||
		l.Verified != want.Verified || l.Rejected != want.Rejected || l.Difference != 0 || l.Dropped == nil {
		t.Errorf("ledger: got %+v, want %+v", got.Ledger, want)
	}
	names := []string{got.Daemons[0].Name, got.Daemons[1].Name}
	if !slices.Equal(names, []string{"collectord", "shipperd"}) || !got.Daemons[0].Running || got.Daemons[0].PID == 0 || got.Daemons[1].Running {
		t.Errorf("daemons: got %+v", got.Daemons)
	}
	if got.Pending.Samples != 3 || got.Pending.Oldest.IsZero() || got.LastAccepted.IsZero() || got.LastVerified.IsZero() || len(got.OpenChunks) != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestStatus_Killed: a run without an end was killed.
func TestStatus_Killed(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 1)
	if _, err := store.OpenOutbox(t.Context(), store.Options{Path: b.path, Daemon: "shipperd", Version: "1"}); err != nil {
		t.Fatal(err)
	}
	stdout, _ := b.run(0, "status")
	wantText(t, stdout, "shipperd      not running; last run was killed")
}

// TestStatus_Print has what a person sees, word by word.
func TestStatus_Print(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	cfg := config.Default()

	well := &statusReport{
		Time: now, Database: "/var/lib/belabox-metrics/metrics.db",
		Sizes: statusSizes{20 << 20, 3 << 20, 18 << 20, 512 << 20},
		Daemons: []daemonStatus{
			{Name: "collectord", Running: true, PID: 17, Version: "1.0.0", Since: ago(49 * time.Hour)},
			{
				Name: "shipperd", Running: true, PID: 18, Version: "1.0.0", Since: ago(3 * time.Minute),
				Last: &lastRun{"1.0.0", now.Add(-time.Hour), ago(3 * time.Minute), true},
			},
		},
		LastAccepted: ago(12 * time.Second), LastVerified: ago(44 * time.Second),
		Ledger: ledger{Inserted: 1_000_000, Pending: 24, Accepted: 800, Verified: 999_173, NotSendable: 3},
	}
	well.Pending.Samples, well.Pending.Oldest = 24, ago(2*time.Second)
	well.TrueTime = timeStatus{How: store.HowClock, text: truetime.Describe(store.Epoch{How: store.HowClock}), now: now}
	well.OpenChunks = []chunkStatus{{store.Accepted, 8, 800, 4000}}
	cfg.Remote.MonthlyBudgetMB = 50
	well.Link = linkStatus{link.Of([]store.DayTraffic{{Day: store.DayOf(now) - 1, Sent: 400_000, Received: 80_000}, {Day: store.DayOf(now), Sent: 300_000, Received: 60_000}}, now, cfg.Remote), "wwan0"}
	well.evaluate(cfg)

	ill := &statusReport{
		Time: now, Database: "/data/m.db", Sizes: statusSizes{500 << 20, 0, 500 << 20, 512 << 20},
		Daemons: []daemonStatus{
			{Name: "collectord"},
			{Name: "shipperd", Running: true, PID: 18, Version: "1.0.0", Since: ago(time.Hour), Last: &lastRun{Version: "1.0.0", Started: now.Add(-5 * time.Hour)}},
		},
		DeadLetters: map[string]int64{"rejected": 2, "not_stored": 7},
		Ledger:      ledger{Inserted: 100, Pending: 60, Rejected: 9, Dropped: map[string]int64{"size": 30}, Difference: -1},
		OpenChunks:  []chunkStatus{{store.Sending, 1, 50, 1000}, {store.Requeued, 2, 10, 2048}},
	}
	ill.Pending.Samples, ill.Pending.Oldest = 60, ago(time.Hour)
	ill.TrueTime = timeStatus{Waiting: 60, text: truetime.Describe(store.Epoch{}), now: now}
	ill.Link.Use = link.Of([]store.DayTraffic{{Day: store.DayOf(now) - 1, Sent: 70_000_000}}, now, cfg.Remote)
	ill.evaluate(cfg)

	for name, r := range map[string]*statusReport{"status-well": well, "status-ill": ill} {
		var out bytes.Buffer
		r.print(&out)
		testkit.Golden(t, name+".txt", out.Bytes())
	}
}

// TestStatus_WrongClock: what is stored with true time has the age that it has, whatever the clock
// says.
func TestStatus_WrongClock(t *testing.T) {
	t.Parallel()
	for _, behind := range []time.Duration{time.Hour, -time.Hour} {
		wall := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
		now := wall.Add(behind)
		r := &statusReport{
			Time: wall, Daemons: []daemonStatus{{Name: "collectord", Running: true, Since: wall.Add(-time.Minute)}, {Name: "shipperd", Running: true, Since: wall.Add(-time.Minute)}},
			LastAccepted: now.Add(-12 * time.Second), LastVerified: now.Add(-4 * time.Second),
			TrueTime: timeStatus{How: store.HowServer, text: truetime.Describe(store.Epoch{How: store.HowServer, TrueOffset: behind.Milliseconds()}), now: now},
		}
		r.Pending.Samples = 1
		r.evaluate(config.Default())
		var out bytes.Buffer
		r.print(&out)
		wantText(t, out.String(), "accepted      12 s ago", "verified      4 s ago")
		if strings.Contains(out.String(), "ahead the") || len(r.Conditions) > 0 {
			t.Errorf("%+v\n%s", r.Conditions, out.String())
		}
	}
}
