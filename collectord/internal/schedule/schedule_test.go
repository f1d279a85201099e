package schedule

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
)

var every10s = Config{Interval: 10 * time.Second}

// fake is a collector that does what a test tells it.
type fake struct {
	name   string
	series *store.Series
	do     func(at time.Time, out *sample.Batch) error
	calls  atomic.Int64
}

func newFake(name string, do func(at time.Time, out *sample.Batch) error) *fake {
	return &fake{name: name, series: store.NewSeries("dev", name+".value", store.Number), do: do}
}

func (f *fake) Name() string { return f.name }

func (f *fake) Collect(at time.Time, out *sample.Batch) error {
	n := f.calls.Add(1)
	out.Samples = append(out.Samples, store.Sample{Series: f.series, Value: float64(n)})
	if f.do != nil {
		return f.do(at, out)
	}
	return nil
}

// record is a copy of a tick, since the tick itself is reused.
type record struct {
	time    time.Time
	at      time.Time // monotonic
	samples []string
	results []Result
	missed  int
	step    time.Duration
}

func copyTick(t *Tick) record {
	r := record{time: t.Time, at: time.Now(), results: slices.Clone(t.Results), missed: t.Missed, step: t.ClockStep}
	for _, s := range t.Samples {
		r.samples = append(r.samples, strings.TrimSuffix(fmt.Sprint(s.Series.Name, "=", s.Value, s.Text), " "))
	}
	return r
}

func (r *record) result(t *testing.T, name string) Result {
	t.Helper()
	for _, res := range r.results {
		if res.Collector == name {
			return res
		}
	}
	t.Fatalf("tick %v has no result of %q: %v", r.time, name, r.results)
	return Result{}
}

// runTicks runs a scheduler for n ticks and returns them.
func runTicks(t *testing.T, n int, cfg Config, deps Deps) []record {
	t.Helper()
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ticks []record
	err = s.Run(ctx, func(_ context.Context, tick *Tick) error {
		ticks = append(ticks, copyTick(tick))
		if len(ticks) == n {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	return ticks
}

func times(ticks []record) []string {
	var out []string
	for _, r := range ticks {
		out = append(out, r.time.UTC().Format("15:04:05.000"))
	}
	return out
}

func TestRun_TicksAreAlignedAndShareOneTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567 * time.Microsecond) // a start at an odd time
		a, b := newFake("a", nil), newFake("b", nil)
		ticks := runTicks(t, 3, every10s, Deps{Collectors: []sample.Collector{a, b}})
		if got, want := times(ticks), []string{"00:00:10.000", "00:00:20.000", "00:00:30.000"}; !slices.Equal(got, want) {
			t.Errorf("times %v, want %v", got, want)
		}
		for i, r := range ticks {
			want := []string{fmt.Sprint("a.value=", i+1), fmt.Sprint("b.value=", i+1)}
			if !slices.Equal(r.samples, want) {
				t.Errorf("samples %v, want %v", r.samples, want)
			}
			if r.missed != 0 || r.step != 0 || r.result(t, "a").Samples != 1 || r.result(t, "b").Err != nil {
				t.Errorf("tick %+v", r)
			}
		}
	})
}

func TestRun_EachCollectorHasItsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Second)
		var seen []string
		note := func(name string) *fake {
			return newFake(name, func(at time.Time, _ *sample.Batch) error {
				seen = append(seen, name+at.UTC().Format("05"))
				return nil
			})
		}
		ticks := runTicks(t, 8, Config{
			Interval:  4 * time.Second,
			Intervals: map[string]time.Duration{"b": 6 * time.Second, "rare": time.Hour, "not-there": 1},
		}, Deps{Collectors: []sample.Collector{note("a"), note("b"), note("rare")}})
		// Every collector runs in the first tick, then each on its own grid.
		want := "a04 b04 rare04 b06 a08 a12 b12 a16 b18 a20 a24 b24"
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := len(ticks[1].results); got != 1 {
			t.Errorf("%d results in a tick of one collector", got)
		}
	})
}

func TestRun_PanicIsAnErrorOfItsCollector(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := newFake("bad", func(time.Time, *sample.Batch) error { panic("index out of range") })
		ticks := runTicks(t, 2, every10s, Deps{Collectors: []sample.Collector{bad, newFake("good", nil)}})
		for i, r := range ticks {
			p, ok := errors.AsType[*run.PanicError](r.result(t, "bad").Err)
			if !ok || p.Error() != "panic: index out of range" || !strings.Contains(string(p.Stack), "schedule_test.go") {
				t.Errorf("result %+v", r.result(t, "bad"))
			}
			if want := []string{fmt.Sprint("good.value=", i+1)}; !slices.Equal(r.samples, want) {
				t.Errorf("samples %v, want %v: a batch cut by a panic is not to be trusted", r.samples, want)
			}
		}
	})
}

func TestRun_ReportsErrorsAndKeepsSamples(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sensor, source := errors.New("sensor"), errors.New("source")
		f := newFake("f", func(_ time.Time, out *sample.Batch) error {
			out.Fail(sensor)
			return source
		})
		r := runTicks(t, 1, every10s, Deps{Collectors: []sample.Collector{f}})[0].result(t, "f")
		if r.Err != source || len(r.Errors) != 1 || !errors.Is(r.Errors[0], sensor) || r.Samples != 1 {
			t.Errorf("result %+v", r)
		}
	})
}

func TestRun_TellsOnceWhatCameAndWent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := true
		f := newFake("f", func(_ time.Time, out *sample.Batch) error {
			if first {
				out.Came, out.Gone = append(out.Came, "lan9"), append(out.Gone, "wan0")
			}
			first = false
			return nil
		})
		ticks := runTicks(t, 2, every10s, Deps{Collectors: []sample.Collector{f}})
		if r := ticks[0].result(t, "f"); !slices.Equal(r.Came, []string{"lan9"}) || !slices.Equal(r.Gone, []string{"wan0"}) {
			t.Errorf("result %+v", r)
		}
		if r := ticks[1].result(t, "f"); len(r.Came)+len(r.Gone) > 0 {
			t.Errorf("again: %+v", r)
		}
	})
}

func TestRun_UnsupportedIsNoErrorAndTriedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake("f", func(time.Time, *sample.Batch) error {
			return fmt.Errorf("open /proc/pressure: %w", proc.ErrNotSupported)
		})
		ticks := runTicks(t, 13, every10s, Deps{Collectors: []sample.Collector{f}})
		for i, r := range ticks {
			if res := r.result(t, "f"); res.Err != nil || !res.Unsupported {
				t.Errorf("tick %d: %+v", i, res)
			}
		}
		if got := f.calls.Load(); got != 3 { // at 0, 60 and 120 s
			t.Errorf("tried %d times, want 3", got)
		}
	})
}

func TestRun_EndsWithTheErrorOfEmit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(every10s, Deps{Collectors: []sample.Collector{newFake("a", nil)}})
		if err != nil {
			t.Fatal(err)
		}
		full := errors.New("disk full")
		if err := s.Run(t.Context(), func(context.Context, *Tick) error { return full }); err != full {
			t.Errorf("got %v, want %v", err, full)
		}
		err = s.Run(t.Context(), func(context.Context, *Tick) error { panic("bug") })
		if p, ok := errors.AsType[*run.PanicError](err); !ok || p.Value != "bug" {
			t.Errorf("got %v, want the panic", err)
		}
	})
}

func TestRun_EachReadingHasItsOwnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []time.Time
		slow := newFake("slow", func(at time.Time, _ *sample.Batch) error {
			seen = append(seen, at)
			time.Sleep(time.Second)
			return nil
		})
		late := newFake("late", func(at time.Time, _ *sample.Batch) error {
			seen = append(seen, at)
			return nil
		})
		runTicks(t, 2, every10s, Deps{Collectors: []sample.Collector{slow, late}})
		// Each reading has its own time, so that a rate is right even if the
		// collector before it was slow.
		for i, want := range []time.Duration{time.Second, 9 * time.Second, time.Second} {
			if got := seen[i+1].Sub(seen[i]); got != want {
				t.Errorf("reading %d came %v after the one before, want %v", i+1, got, want)
			}
		}
	})
}

// Outside of a bubble, where times have a monotonic part.
func TestRun_RealClock(t *testing.T) {
	t.Parallel()
	var seen []time.Time
	f := newFake("f", func(at time.Time, _ *sample.Batch) error {
		seen = append(seen, at)
		return nil
	})
	ticks := runTicks(t, 3, Config{Interval: minInterval}, Deps{Collectors: []sample.Collector{f}})
	for i, at := range seen {
		if !strings.Contains(at.String(), " m=") {
			t.Errorf("%v has no monotonic part to divide rates by", at)
		}
		if at.Before(ticks[i].time) {
			t.Errorf("tick %v was read before its time, at %v", ticks[i].time, at)
		}
	}
}

func TestOnce_ReadsTwiceAndKeepsWhatOnlyTheFirstHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		text := store.NewSeries("dev", "system.os_name", store.Text)
		rare := store.NewSeries("dev", "emmc.pre_eol", store.Number)
		var seen []time.Time
		f := newFake("f", func(at time.Time, out *sample.Batch) error {
			if seen = append(seen, at); len(seen) == 1 {
				out.Samples = append(out.Samples, store.Sample{Series: text, Text: "Debian"}, store.Sample{Series: rare, Value: 3})
			}
			return nil
		})
		s, err := New(Config{Interval: time.Hour}, Deps{Collectors: []sample.Collector{f}})
		if err != nil {
			t.Fatal(err)
		}
		tick, err := s.Once(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := copyTick(tick)
		if want := []string{"f.value=2", "system.os_name=0Debian", "emmc.pre_eol=3"}; !slices.Equal(r.samples, want) {
			t.Errorf("samples %v, want %v", r.samples, want)
		}
		if gap := seen[1].Sub(seen[0]); gap != time.Second || !r.time.Equal(seen[1].Truncate(time.Millisecond)) {
			t.Errorf("readings %v apart, tick at %v", gap, r.time)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.Once(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended early with %v", err)
		}
	})
}

func TestNew_RefusesBadConfig(t *testing.T) {
	t.Parallel()
	a := Deps{Collectors: []sample.Collector{newFake("a", nil)}}
	for want, try := range map[string]func() (*Scheduler, error){
		"no collector is enabled": func() (*Scheduler, error) { return New(every10s, Deps{}) },
		`interval 9ms of collector "a"`: func() (*Scheduler, error) {
			return New(Config{Interval: 9 * time.Millisecond}, a)
		},
		`interval 1.0005s of collector "a"`: func() (*Scheduler, error) {
			return New(Config{Interval: every10s.Interval, Intervals: map[string]time.Duration{"a": 1000500 * time.Microsecond}}, a)
		},
		"interval -1s":  func() (*Scheduler, error) { return New(Config{Interval: -time.Second}, a) },
		"deadline -1ns": func() (*Scheduler, error) { return New(Config{Interval: every10s.Interval, Deadline: -1}, a) },
	} {
		if _, err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestRun_AllocatesNothingInSteadyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var collectors []sample.Collector
		for i := range 12 {
			collectors = append(collectors, newFake(fmt.Sprint("c", i), nil))
		}
		s, err := New(every10s, Deps{Collectors: collectors})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const warm, measured = 10, 1000
		var before, after runtime.MemStats
		n := 0
		if err := s.Run(ctx, func(context.Context, *Tick) error {
			switch n++; n {
			case warm:
				runtime.ReadMemStats(&before)
			case warm + measured:
				runtime.ReadMemStats(&after)
				cancel()
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := after.Mallocs - before.Mallocs; got >= measured {
			t.Errorf("%d allocations in %d ticks, want less than one a tick", got, measured)
		}
	})
}
