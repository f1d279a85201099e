package ship

import (
	"testing"
)

// TestHistory_Judge: which histories speak for an interval of 10 s.
func TestHistory_Judge(t *testing.T) {
	t.Parallel()
	each := func(step, from, to int64) (all []int64) {
		for ts := from; ts <= to; ts += step {
			all = append(all, ts)
		}
		return all
	}
	never := func(int64, int64) bool { return false }
	always := func(int64, int64) bool { return true }
	second := each(1000, 1000, 60_000)
	cases := map[string]struct {
		sent, shown []int64
		unsure      func(from, to int64) bool
		evidence    int
		fits        bool
	}{
		"nothing":                      {nil, nil, never, 0, true},
		"deduplicated":                 {second, each(10_000, 10_000, 60_000), never, 6, true},
		"all there":                    {second, second, never, 0, false},
		"the first ones are kept":      {second, each(10_000, 1000, 51_000), never, 0, false},
		"one kept too many":            {second, append(each(10_000, 10_000, 50_000), 59_000, 60_000), never, 0, false},
		"an interval is lost":          {second, each(10_000, 10_000, 50_000), never, 0, false},
		"an interval is on its way":    {second, append(each(10_000, 10_000, 30_000), 50_000, 60_000), always, 2, true},
		"nothing to deduplicate":       {each(10_000, 10_000, 60_000), each(10_000, 10_000, 60_000), never, 0, true},
		"sparse, one lost":             {each(60_000, 60_000, 600_000), append(each(60_000, 60_000, 180_000), each(60_000, 300_000, 600_000)...), never, 0, false},
		"cut by the end is void":       {each(1000, 570_000, 605_000), each(10_000, 570_000, 600_000), never, 3, true},
		"half of the true interval":    {second, each(20_000, 20_000, 60_000), always, -6, true},
		"the last one is not over":     {second, each(10_000, 10_000, 50_000), always, 5, true},
		"cut by the beginning is void": {each(1000, -5000, 20_000), each(10_000, 0, 20_000), never, 2, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &history{from: 0, to: 600_000, sent: map[string][]int64{"a": c.sent}, shown: map[string][]int64{"a": c.shown}}
			if evidence, fits := h.judge(10_000, c.unsure); evidence != c.evidence || fits != c.fits {
				t.Errorf("%d, %v, want %d, %v", evidence, fits, c.evidence, c.fits)
			}
		})
	}
}
