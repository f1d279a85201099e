package main

import (
	"path/filepath"
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

// The agent's numbers become samples: collectord's own, and shipperd's as it
// saved them. Totals go on over a restart.
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
	reg := sample.Registry{Device: "dev", Labels: map[string]string{"site": "north"}}
	for run, want := range []float64{10, 20} {
		in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		numbers := newOwn(path)
		a := newAgent(numbers, in, reg)
		if err := a.restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		numbers.collected.Add(10)
		var batch sample.Batch
		for range 2 {
			batch.Reset()
			if err := a.Collect(time.Now(), &batch); err != nil || len(batch.Errors) > 0 {
				t.Fatal(err, batch.Errors)
			}
		}
		if got := value(t, &batch, "collector.metrics_collected_total", `{"site":"north"}`); got != want {
			t.Errorf("run %d: collected %v, want %v", run, got, want)
		}
		if got := value(t, &batch, "uploader.metrics_rejected_total", `{"reason":"rejected","site":"north"}`); got != 4 {
			t.Errorf("run %d: shipperd's number: %v, want 4", run, got)
		}
		if _, err := in.Insert(t.Context(), time.Unix(1_790_000_000+int64(run), 0), batch.Samples); err != nil {
			t.Error(err)
		}
		if err := in.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
