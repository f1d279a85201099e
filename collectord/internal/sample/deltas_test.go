package sample

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/collectord/internal/proc"
)

func TestDeltas(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var d deltas
	for i, step := range []struct {
		after   time.Duration // since the start
		now     [2]uint64
		ok      bool
		rates   [2]float64
		because string
	}{
		{0, [2]uint64{100, 7}, false, [2]float64{}, "first reading"},
		{2 * time.Second, [2]uint64{300, 7}, true, [2]float64{100, 0}, ""},
		{2 * time.Second, [2]uint64{400, 8}, false, [2]float64{}, "no time passed"},
		{1 * time.Second, [2]uint64{500, 9}, false, [2]float64{}, "time went back"},
		{2 * time.Second, [2]uint64{510, 10}, true, [2]float64{10, 1}, ""},
		{3 * time.Second, [2]uint64{4, 1000}, false, [2]float64{}, "one counter was reset, the other seems to have grown"},
		{4 * time.Second, [2]uint64{5, 1002}, true, [2]float64{1, 2}, ""},
		{5 * time.Second, [2]uint64{math.MaxUint64 - 1, 1002}, true, [2]float64{1.8447e19, 0}, ""},
		{6 * time.Second, [2]uint64{3, 1003}, false, [2]float64{}, "64 bits wrapped"},
		{7 * time.Second, [2]uint64{proc.Absent, 1005}, true, [2]float64{math.Inf(1), 2}, "one is not there"},
		{8 * time.Second, [2]uint64{9, 1007}, true, [2]float64{math.Inf(1), 2}, "it was not there before"},
		{9 * time.Second, [2]uint64{10, 1010}, true, [2]float64{1, 3}, ""},
	} {
		seconds, ok := d.update(start.Add(step.after), step.now[:]...)
		if ok != step.ok {
			t.Errorf("step %d: ok is %v (%s)", i, ok, step.because)
			continue
		}
		if !ok {
			continue
		}
		got := [2]float64{d.perSecond(0, seconds), d.perSecond(1, seconds)}
		if math.IsNaN(got[0]) {
			got[0] = math.Inf(1)
		}
		if got != step.rates {
			t.Errorf("step %d: got %v, want %v", i, got, step.rates)
		}
	}
}

// TestDeltas_NeverWrong feeds readings that grow, wrap, are reset and come at
// odd times: each rate must be finite, not negative and exactly
// what the two last readings say.
func TestDeltas_NeverWrong(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const counters = 3
		var d deltas
		at := time.Unix(1_800_000_000, 0)
		var last []uint64
		for i := range rapid.IntRange(2, 30).Draw(t, "readings") {
			passed := time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Hour)).Draw(t, "passed"))
			if rapid.Bool().Draw(t, "tiny") {
				passed = time.Duration(rapid.Int64Range(-1, 1).Draw(t, "nanoseconds"))
			}
			now := rapid.SliceOfN(rapid.Uint64(), counters, counters).Draw(t, "now")
			grew := last != nil
			for c := range now {
				if last != nil && rapid.Bool().Draw(t, "grows") {
					now[c] = last[c] + now[c]%(math.MaxUint64-last[c]+1|1)
				}
				grew = grew && (now[c] >= last[c] || last[c] == proc.Absent)
			}
			at = at.Add(passed)
			seconds, ok := d.update(at, now...)
			if want := grew && passed > 0; ok != want {
				t.Fatalf("reading %d: ok is %v, want %v", i, ok, want)
			}
			for c := range now {
				if !ok {
					break
				}
				rate := d.perSecond(c, seconds)
				if last[c] == proc.Absent || now[c] == proc.Absent {
					if !math.IsNaN(rate) {
						t.Fatalf("rate %v of a number that is not there", rate)
					}
					continue
				}
				if rate < 0 || math.IsNaN(rate) || math.IsInf(rate, 0) {
					t.Fatalf("rate %v", rate)
				}
				if want := quotient(float64(now[c]-last[c]) / passed.Seconds()); rate != want {
					t.Fatalf("rate %v, want %v", rate, want)
				}
			}
			last = slices.Clone(now)
		}
	})
}
