package store

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestStats_EachDaemonItsOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.db")
	now := time.UnixMilli(1_790_000_000_000).UTC()
	o := Options{Path: path, Now: func() time.Time { return now }}
	o.Daemon = "collectord"
	in, err := OpenInserter(t.Context(), o, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test ends
	o.Daemon = "shipperd"
	ob, err := OpenOutbox(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer ob.Close(t.Context()) //nolint:errcheck // the test ends

	if stats, err := in.Stats(t.Context(), "shipperd"); err != nil || len(stats) != 0 {
		t.Errorf("before anything was saved: %v, %v", stats, err)
	}
	want := []Stat{
		{"shipperd", "uploader.metrics_rejected_total", `{"reason":"rejected"}`, "counter", 3, now},
		{"shipperd", "uploader.metrics_uploaded_total", "{}", "counter", 12.5, now},
	}
	for _, stats := range [][]Stat{{{Name: "uploader.gone", Tags: "{}", Kind: "gauge", Value: 1}}, want} {
		if err := ob.SaveStats(t.Context(), stats); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.SaveStats(t.Context(), []Stat{{Name: "collector.x", Tags: "{}", Kind: "counter", Value: 1}}); err != nil {
		t.Fatal(err)
	}
	for _, stats := range []func() ([]Stat, error){
		func() ([]Stat, error) { return in.Stats(t.Context(), "shipperd") },
		func() ([]Stat, error) { return ob.Stats(t.Context(), "shipperd") },
	} {
		if got, err := stats(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %v (%v), want %v", got, err, want)
		}
	}
	if got, err := in.Stats(t.Context(), "collectord"); err != nil || len(got) != 1 {
		t.Errorf("collectord's own: %v, %v", got, err)
	}
}

// TestStats_Many: a statement takes some of them, the last one the rest.
func TestStats_Many(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_790_000_000_000).UTC()
	o := options(newPath(t))
	o.Now = func() time.Time { return now }
	ob := openOutbox(t, o)
	for _, n := range []int{1, mostStats - 1, mostStats, mostStats + 1, 3*mostStats + 5, 0} {
		want := []Stat{}
		for i := range n {
			want = append(want, Stat{o.Daemon, fmt.Sprintf("n%03d", i), fmt.Sprintf(`{"a":"%d"}`, i), "gauge", float64(i) / 3, now})
		}
		if err := ob.SaveStats(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got, err := ob.Stats(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d saved: got %v, %v", n, got, err)
		}
	}
}
