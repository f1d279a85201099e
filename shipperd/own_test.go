package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

// ownBench is shipperd's own numbers over a real file with one pending row.
func ownBench(t *testing.T) (o *own, c config.Config) {
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
	return newOwn(ob, nil), c
}

func (o *own) point(t *testing.T, name string) float64 {
	t.Helper()
	for _, p := range o.set.Points() {
		if p.Name == name {
			return p.Value
		}
	}
	t.Fatalf("no number %s", name)
	return 0
}

func TestOwn_Gauges(t *testing.T) {
	t.Parallel()
	o, _ := ownBench(t)
	if got := o.point(t, "storage.metrics_pending_upload"); got != 1 {
		t.Errorf("pending %v, want 1", got)
	}
	if got := o.point(t, "storage.oldest_pending_seconds"); got < 3600 || got > 3700 {
		t.Errorf("oldest pending %v s, want an hour", got)
	}
	for _, p := range o.set.Points() {
		if p.Name == "time.skew_ms" {
			t.Errorf("a skew of %v without anybody to compare with", p.Value)
		}
	}
}

// Totals go on over a restart, by way of daemon_stats.
func TestOwn_TotalsSurviveARestart(t *testing.T) {
	t.Parallel()
	first, _ := ownBench(t)
	first.took(300 * time.Millisecond)
	first.ships(nil, func() (sent, got int64) { return 1000, 50 })
	if err := first.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := newOwn(first.outbox, nil)
	if err := second.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	second.took(2 * time.Second)
	second.ships(nil, func() (sent, got int64) { return 10, 5 })
	for name, want := range map[string]float64{
		"uploader.bytes_sent_total": 1010, "uploader.bytes_received_total": 55,
		"uploader.upload_duration_seconds_count": 2, "uploader.upload_duration_seconds_sum": 2.3,
	} {
		if got := second.point(t, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestOwn_AgeIsNeverNegative(t *testing.T) {
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
	o, c := ownBench(t)
	started := time.Now()
	in := healthSource(c, o, started)(t.Context())
	if in.Storage.Pending != 1 || in.Storage.OldestPending.IsZero() || in.Storage.WALBytes == 0 {
		t.Errorf("storage: %+v", in.Storage)
	}
	if len(in.Uploader.Faults) != 0 || !in.Uploader.Started.Equal(started) || in.Collectors != nil {
		t.Errorf("uploader: %+v", in.Uploader)
	}
	c.Remote.Verify.Enabled = false
	in = healthSource(c, o, started)(t.Context())
	if len(in.Uploader.Faults) != 1 || in.Uploader.Faults[0].Code != "unproven" || in.Uploader.Faults[0].Severity != health.Degraded {
		t.Errorf("without verification: %+v, want to be told that delivery is unproven", in.Uploader.Faults)
	}
}
