package main

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/store"
)

// value returns what a batch holds of a series.
func value(t *testing.T, b *sample.Batch, name, tags string) float64 {
	t.Helper()
	for _, s := range b.Samples {
		if s.Series.Name == name && s.Series.Tags == tags {
			return s.Value
		}
	}
	t.Fatalf("no sample of %s%s", name, tags)
	return 0
}

// Self-metrics become samples: collectord's, and shipperd's as it saved them.
// Totals go on over a restart.
func TestAgent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.db")
	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	defer ob.Close(t.Context()) //nolint:errcheck // the test ends
	if err := ob.SaveStats(t.Context(), []store.Stat{
		{Name: "uploader.metrics_rejected_total", Tags: `{"reason":"rejected"}`, Kind: "counter", Value: 4},
	}); err != nil {
		t.Fatal(err)
	}
	for run, want := range []float64{10, 20} {
		in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		self := newSelfMetrics(path)
		a := newAgent(self, in, "dev", map[string]string{"site": "north"})
		saved, err := in.Stats(t.Context(), "collectord")
		if err != nil {
			t.Fatal(err)
		}
		self.restore(saved)
		self.collected.Add(10)
		var batch sample.Batch
		for range 2 {
			batch.Begin(time.Now(), nil)
			if err := a.Collect(time.Now(), &batch); err != nil || len(batch.Errors) > 0 {
				t.Fatal(err, batch.Errors)
			}
		}
		if got := value(t, &batch, "collector.metrics_collected_total", `{"site":"north"}`); got != want {
			t.Errorf("run %d: collected %v, want %v", run, got, want)
		}
		if got := value(t, &batch, "uploader.metrics_rejected_total", `{"reason":"rejected","site":"north"}`); got != 4 {
			t.Errorf("run %d: shipperd's metric: %v, want 4", run, got)
		}
		if _, err := in.Insert(t.Context(), time.Unix(1_790_000_000+int64(run), 0), batch.Samples); err != nil {
			t.Error(err)
		}
		if err := self.save(t.Context(), in); err != nil {
			t.Error(err)
		}
		if err := in.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What shipperd said of a moment that has passed is not said again: its totals
// stand, its gauges do not.
func TestAgent_ShipperdIsAway(t *testing.T) {
	t.Parallel()
	now := time.Now()
	saved := now
	path := filepath.Join(t.TempDir(), "metrics.db")
	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: path, Daemon: "shipperd", Now: func() time.Time { return saved }})
	if err != nil {
		t.Fatal(err)
	}
	defer ob.Close(t.Context()) //nolint:errcheck // the test ends
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(context.Background()) //nolint:errcheck // the test ends
	a := newAgent(newSelfMetrics(path), in, "dev", nil)
	for _, c := range []struct {
		ago  time.Duration
		want bool
	}{
		{0, true},
		{statsFor - time.Second, true},
		{statsFor + time.Second, false},
		{24 * time.Hour, false},
		{-statsFor + time.Second, true},
		{-24 * time.Hour, false}, // the clock was set back
	} {
		saved = now.Add(-c.ago)
		if err := ob.SaveStats(t.Context(), []store.Stat{
			{Name: "uploader.metrics_uploaded_total", Tags: "{}", Kind: "counter", Value: 4},
			{Name: "time.skew_ms", Tags: "{}", Kind: "gauge", Value: 7},
		}); err != nil {
			t.Fatal(err)
		}
		var batch sample.Batch
		if err := a.Collect(now, &batch); err != nil {
			t.Fatal(err)
		}
		if got := value(t, &batch, "uploader.metrics_uploaded_total", "{}"); got != 4 {
			t.Errorf("%v ago: total %v, want 4", c.ago, got)
		}
		got := slices.ContainsFunc(batch.Samples, func(s store.Sample) bool { return s.Series.Name == "time.skew_ms" })
		if got != c.want {
			t.Errorf("%v ago: a skew: %v, want %v", c.ago, got, c.want)
		}
	}
}
