package chunk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
)

func TestBuild_Errors(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "a")
	b := newBuilder(Config{})
	f := func(rows []store.Row, want string) {
		t.Helper()
		for _, build := range []func([]store.Row, SeriesFunc, time.Time, int64) ([]*sent, []Refused, store.KeySet, error){b.Build, b.BuildCatchUp} {
			if bodies, _, _, err := build(rows, c.get, noon, 0); err == nil || !strings.Contains(err.Error(), want) || bodies != nil {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		if _, err := b.Rebuild(rows, c.get, noon, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f([]store.Row{row(0, 1, 0), row(0, 1, 0)}, "out of order")
	f([]store.Row{row(0, 1, 0), row(-1e9, 1, 0)}, "out of order")
	f([]store.Row{row(0, 1, 0), row(0, 2, 0)}, "series 2 is not in the file")

	broken := errors.New("broken")
	_, _, _, err := b.Build([]store.Row{row(0, 1, 0)}, func(int64) (*store.SeriesInfo, error) { return nil, broken }, noon, 0)
	if !errors.Is(err, broken) {
		t.Errorf("error %v hides its cause", err)
	}
	// An error leaves nothing behind.
	if bodies, _, _, err := b.Build([]store.Row{row(0, 1, 0)}, c.get, noon, 0); err != nil || len(bodies) != 1 {
		t.Errorf("after errors: %d bodies, %v", len(bodies), err)
	}
}

func TestRebuild_Errors(t *testing.T) {
	t.Parallel()
	rows, c := oddBatch()
	for _, want := range []string{"no_value", "too_many_labels", "is text"} {
		i := slices.IndexFunc(rows, func(r store.Row) bool {
			return want == "no_value" && r.Null || want == "too_many_labels" && r.Key.SeriesID() == 6 || want == "is text" && r.Key.SeriesID() == 4
		})
		if _, err := newBuilder(Config{}).Rebuild(rows[i:i+1], c.get, noon, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := newBuilder(Config{}).Rebuild(nil, c.get, noon, 0); err == nil {
		t.Error("no rows were rebuilt")
	}
}

// TestRebuild_IgnoresLimits: the configuration may have changed since.
func TestRebuild_IgnoresLimits(t *testing.T) {
	t.Parallel()
	rows, series := device(20, 3, time.Second)
	want, _, _, err := newBuilder(Config{}).Build(rows, series, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := newBuilder(Config{MaxMetrics: 1, MaxBytes: 100}).Rebuild(rows, series, noon, 0)
	if err != nil || len(want) != 1 || got.Hash != want[0].Hash {
		t.Errorf("rebuilt under smaller limits: %v, the same: %v", err, err == nil && got.Hash == want[0].Hash)
	}
}

func TestBuild_TooLargeAlone(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "small")
	c.put(2, "large")
	for i := range 20 {
		c[2].Tags = append(c[2].Tags, store.Tag{Name: fmt.Sprintf("t%d", i), Value: noise(uint64(i), 300)})
	}
	rows := []store.Row{row(0, 1, 1), row(0, 2, 2), row(time.Second, 1, 3), row(time.Second, 2, 4)}
	b := newBuilder(Config{MaxBytes: 1000})
	for _, build := range []func([]store.Row, SeriesFunc, time.Time, int64) ([]*sent, []Refused, store.KeySet, error){b.Build, b.BuildCatchUp} {
		bodies, refused, _, err := build(rows, c.get, noon, 0)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for _, body := range bodies {
			sent += len(body.Keys)
		}
		if sent != 2 || len(refused) != 2 || refused[0].Reason != TooLarge || refused[0].Key.SeriesID() != 2 {
			t.Errorf("%d sent, refused %+v", sent, refused)
		}
	}
}
