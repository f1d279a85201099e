package chunk

import (
	"testing"
	"time"
)

// TestBuildCatchUp_Sizes: after the first bodies have told how well the rows
// compress, bodies have 128 to 200 KiB, each with its ticks for itself.
func TestBuildCatchUp_Sizes(t *testing.T) {
	t.Parallel()
	rows, series := device(97, 4001, 10*time.Second)
	b := newBuilder(limits)
	if _, _, _, err := b.BuildCatchUp(rows[:50_000], series, noon, 0); err != nil {
		t.Fatal(err)
	}
	bodies, _, _, err := b.BuildCatchUp(rows, series, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(bodies) < 3 {
		t.Fatalf("%d bodies", len(bodies))
	}
	last := int64(0)
	for i, body := range bodies {
		if n := len(body.Gzip); n < 128<<10 || n > 210<<10 {
			t.Errorf("body %d has %d KiB, want 128 to 200", i, n>>10)
		}
		from, to := body.Range()
		if from <= last || !body.Contiguous {
			t.Errorf("body %d begins at %d, the one before ends at %d; contiguous %v", i, from, last, body.Contiguous)
		}
		last = to
	}
	if n := b.CatchUpRows(); n < 50_000 || n > 150_000 {
		t.Errorf("a body takes %d rows", n)
	}
}

// TestBuildCatchUp_BadGuess: rows that compress far worse than the last ones
// still keep to the limit.
func TestBuildCatchUp_BadGuess(t *testing.T) {
	t.Parallel()
	rows, series := device(2000, 10, 10*time.Second)
	b := newBuilder(Config{MaxBytes: 20_000})
	b.perRow = 0.01
	bodies, _, _, err := b.BuildCatchUp(rows, series, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, body := range bodies {
		sent += len(body.Keys)
		if n := len(body.Gzip); n > 20_000 || n < 4_000 {
			t.Errorf("body of %d bytes, want near 20,000", n)
		}
	}
	if sent != len(rows) {
		t.Errorf("%d of %d rows", sent, len(rows))
	}
}
