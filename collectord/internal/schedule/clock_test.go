package schedule

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/collectord/internal/sample"
)

func TestGrid_AfterIsTheNextMultiple(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var g grid
		intervals := rapid.SliceOfN(rapid.Int64Range(1, 50), 1, 4).Draw(t, "intervals")
		for _, ms := range intervals {
			g = g.with(time.Duration(ms) * time.Millisecond)
		}
		from := rapid.Int64Range(0, 1<<45).Draw(t, "from")
		onGrid := func(ms int64) bool {
			return slices.ContainsFunc(intervals, func(iv int64) bool { return ms%iv == 0 })
		}
		want := from + 1
		for !onGrid(want) {
			want++
		}
		if got := g.after(from); got != want {
			t.Fatalf("after(%d) of %v = %d, want %d", from, intervals, got, want)
		}
	})
}

// wall is a wall clock that tests set.
type wall struct{ offset atomic.Int64 }

func (w *wall) now() time.Time       { return time.Now().Add(time.Duration(w.offset.Load())) }
func (w *wall) step(d time.Duration) { w.offset.Add(int64(d)) }
func (w *wall) stepAt(at, d time.Duration) {
	time.AfterFunc(at, func() { w.step(d) })
}

func TestRun_ClockSteps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step time.Duration // at second 25
		want []string
		at   []time.Duration // since the start, monotonic
	}{
		"suspend or clock set forward": {
			time.Hour,
			[]string{"00:00:10.000", "00:00:20.000", "01:00:40.000", "01:00:50.000"},
			[]time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 50 * time.Second},
		},
		"forward into the middle of an interval": {
			7 * time.Second, // 32 s when seen at 30 s: 37 s
			[]string{"00:00:10.000", "00:00:20.000", "00:00:40.000", "00:00:50.000"},
			[]time.Duration{10 * time.Second, 20 * time.Second, 33 * time.Second, 43 * time.Second},
		},
		"back by an hour": {
			-time.Hour,
			[]string{"00:00:10.000", "00:00:20.000", "23:00:40.000", "23:00:50.000"},
			[]time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 50 * time.Second},
		},
		"back to before the last tick": {
			-11 * time.Second, // 19 s when seen at 30 s; 20 s was there already
			[]string{"00:00:10.000", "00:00:20.000", "00:00:30.000", "00:00:40.000"},
			[]time.Duration{10 * time.Second, 20 * time.Second, 41 * time.Second, 51 * time.Second},
		},
		"back by a little": {
			-2 * time.Second,
			[]string{"00:00:10.000", "00:00:20.000", "00:00:30.000", "00:00:40.000"},
			[]time.Duration{10 * time.Second, 20 * time.Second, 32 * time.Second, 42 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var w wall
				start := time.Now()
				w.stepAt(25*time.Second, c.step)
				ticks := runTicks(t, 4, every10s, Deps{Collectors: []sample.Collector{newFake("a", nil)}, Now: w.now})
				var at []time.Duration
				step := time.Duration(0)
				for _, r := range ticks {
					at = append(at, r.at.Sub(start))
					step += r.step
					if r.missed != 0 {
						t.Errorf("%d ticks missed, though the process was never held up", r.missed)
					}
				}
				if got := times(ticks); !slices.Equal(got, c.want) {
					t.Errorf("ticks %v, want %v", got, c.want)
				}
				if !slices.Equal(at, c.at) {
					t.Errorf("they ran at %v, want %v", at, c.at)
				}
				if c.step.Abs() > 5*time.Second && step != c.step {
					t.Errorf("reported a step of %v, want %v", step, c.step)
				}
			})
		})
	}
}

// A tick that is an hour away is found anew soon after the clock was set.
func TestRun_LongWaitSeesAStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w wall
		start := time.Now()
		w.stepAt(10*time.Second, 40*time.Minute)
		ticks := runTicks(t, 1, Config{Interval: time.Hour}, Deps{Collectors: []sample.Collector{newFake("a", nil)}, Now: w.now})
		if got, want := ticks[0].at.Sub(start), 20*time.Minute; got != want || ticks[0].step != 40*time.Minute {
			t.Errorf("ran after %v, want %v; step %v", got, want, ticks[0].step)
		}
	})
}

func TestRun_MissedTicks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(every10s, Deps{Collectors: []sample.Collector{newFake("a", nil)}})
		if err != nil {
			t.Fatal(err)
		}
		// What storing each tick takes. 14 s makes the next tick 4 s late, and it is
		// still that tick. With another 36 s those of 30, 40 and 50 s cannot run and
		// that of 60 s can. 16 s misses one.
		delays := []time.Duration{14 * time.Second, 36 * time.Second, 16 * time.Second, 0, 0}
		var got []string
		var missed []int
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err = s.Run(ctx, func(_ context.Context, tick *Tick) error {
			got = append(got, tick.Time.UTC().Format("04:05"))
			missed = append(missed, tick.Missed)
			time.Sleep(delays[len(got)-1])
			if len(got) == len(delays) {
				cancel()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"00:10", "00:20", "01:00", "01:20", "01:30"}; !slices.Equal(got, want) {
			t.Errorf("ticks %v, want %v", got, want)
		}
		if want := []int{0, 0, 3, 1, 0}; !slices.Equal(missed, want) {
			t.Errorf("missed %v, want %v", missed, want)
		}
	})
}

// Whatever the clock does and however long ticks take to store: no two ticks in
// a row have the same time, all are aligned, and they come no faster than their
// interval, but for one for each step.
func TestRun_NeverTwiceNeverInABurst(t *testing.T) {
	t.Parallel()
	type event struct{ Step, Delay time.Duration }
	duration := func(low, high int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(low, high), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond })
	}
	events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) (e event) {
		if rapid.IntRange(0, 2).Draw(t, "steps") == 0 {
			e.Step = duration(-30_000, 30_000).Draw(t, "step")
		}
		e.Delay = duration(0, 4_000).Draw(t, "delay")
		return e
	}), 1, 20)
	rapid.Check(t, func(rt *rapid.T) {
		events := events.Draw(rt, "events")
		synctest.Test(t, func(t *testing.T) {
			const interval = time.Second
			var w wall
			s, err := New(Config{Interval: interval}, Deps{Collectors: []sample.Collector{newFake("a", nil)}, Now: w.now})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			start := time.Now()
			var last time.Time
			n, steps := 0, 0
			if err := s.Run(ctx, func(_ context.Context, tick *Tick) error {
				if tick.Time.Equal(last) {
					rt.Errorf("two ticks at %v", last)
				}
				if tick.Time.UnixMilli()%interval.Milliseconds() != 0 {
					rt.Errorf("tick at %v is not aligned", tick.Time)
				}
				last = tick.Time
				e := events[n]
				n++
				if room := int(time.Since(start)/interval) + 1 + steps; n > room {
					rt.Errorf("%d ticks in %v with %d steps", n, time.Since(start), steps)
				}
				if e.Step != 0 {
					steps++
				}
				w.step(e.Step)
				time.Sleep(e.Delay)
				if n == len(events) {
					cancel()
				}
				return nil
			}); err != nil {
				rt.Error(err)
			}
		})
	})
}
