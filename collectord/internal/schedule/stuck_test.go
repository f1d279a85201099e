package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/collectord/internal/sample"
)

func TestRun_StuckCollectorIsLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := newFake("stuck", func(time.Time, *sample.Batch) error {
			<-release
			return nil
		})
		before, after := newFake("before", nil), newFake("after", nil)
		time.AfterFunc(35*time.Second, func() { close(release) })
		ticks := runTicks(t, 5, Config{Interval: every10s.Interval, Deadline: 2 * time.Second}, Deps{Collectors: []sample.Collector{before, stuck, after}})

		for i, want := range []struct {
			err   error
			delay time.Duration
		}{
			{ErrDeadline, 2 * time.Second}, // costs the tick its deadline, once
			{ErrStuck, 0},
			{ErrStuck, 0},
			{nil, 0}, // it came back at 35 s
			{nil, 0},
		} {
			got := ticks[i].result(t, "stuck")
			if !errors.Is(got.Err, want.err) {
				t.Errorf("tick %d: %+v, want %v", i, got, want.err)
			}
			if delay := ticks[i].at.Sub(ticks[i].time); delay != want.delay {
				t.Errorf("tick %d came %v late, want %v", i, delay, want.delay)
			}
			n := fmt.Sprint(i + 1)
			samples := []string{"before.value=" + n, "after.value=" + n}
			if want.err == nil {
				samples = slices.Insert(samples, 1, "stuck.value="+fmt.Sprint(i-1)) // the late value 1 is thrown away
			}
			if !slices.Equal(ticks[i].samples, samples) {
				t.Errorf("tick %d: samples %v, want %v", i, ticks[i].samples, samples)
			}
		}
	})
}

func TestRun_ManyStuckAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var collectors []sample.Collector
		for i := range 20 {
			f := newFake(fmt.Sprint("c", i), nil)
			if i%2 == 1 {
				f.do = func(time.Time, *sample.Batch) error { <-release; return nil }
			}
			collectors = append(collectors, f)
		}
		time.AfterFunc(25*time.Second, func() { close(release) })
		ticks := runTicks(t, 4, Config{Interval: every10s.Interval, Deadline: 100 * time.Millisecond}, Deps{Collectors: collectors})
		for i, want := range []int{10, 10, 20, 20} {
			if got := len(ticks[i].samples); got != want || len(ticks[i].results) != 20 {
				t.Errorf("tick %d: %d samples, want %d; %d results, want 20", i, got, want, len(ticks[i].results))
			}
		}
	})
}

// A collector that is slow but within its deadline is not taken for stuck, even
// if all of them together take longer than one deadline.
func TestRun_SlowIsNotStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var collectors []sample.Collector
		for i := range 4 {
			collectors = append(collectors, newFake(fmt.Sprint("c", i), func(time.Time, *sample.Batch) error {
				time.Sleep(900 * time.Millisecond)
				return nil
			}))
		}
		ticks := runTicks(t, 2, Config{Interval: every10s.Interval, Deadline: time.Second}, Deps{Collectors: collectors})
		for _, r := range ticks {
			for _, res := range r.results {
				if res.Err != nil || res.Duration != 900*time.Millisecond {
					t.Errorf("%+v", res)
				}
			}
		}
	})
}

func TestRun_EndsWhileACollectorHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := newFake("hang", func(time.Time, *sample.Batch) error { <-release; return nil })
		s, err := New(Config{Interval: every10s.Interval, Deadline: time.Hour}, Deps{Collectors: []sample.Collector{hang, newFake("a", nil)}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		start := time.Now()
		err = s.Run(ctx, func(context.Context, *Tick) error {
			t.Error("a tick that was cut short was emitted")
			return nil
		})
		if took := time.Since(start); err != nil || took != 15*time.Second {
			t.Errorf("Run ended with %v after %v, want nil after 15s", err, took)
		}
		close(release)
	})
}
