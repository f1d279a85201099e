package sample

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// answer is a question for tests: it takes as long as told, or until released.
type answer struct {
	call  *call
	took  time.Duration
	hang  chan struct{} // nil: does not hang
	asked atomic.Int32
}

func newAnswer(took time.Duration, hang chan struct{}) *answer {
	a := &answer{took: took, hang: hang}
	a.call = newCall(func() {
		a.asked.Add(1)
		time.Sleep(a.took)
		if a.hang != nil {
			<-a.hang
		}
	})
	return a
}

// callAll makes all calls once and returns who answered and how long it took.
func callAll(w *waiter, answers ...*answer) (answered []bool, took time.Duration) {
	var calls []*call
	for _, a := range answers {
		calls = append(calls, a.call)
	}
	start := time.Now()
	w.call(start, calls)
	for _, c := range calls {
		answered = append(answered, c.answered)
	}
	return answered, time.Since(start)
}

func TestWaiter_WaitsForTheSlowestHealthyOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWaiter()
		quick, slow := newAnswer(0, nil), newAnswer(100*time.Millisecond, nil)
		answered, took := callAll(w, slow, quick)
		if !slices.Equal(answered, []bool{true, true}) || took != 100*time.Millisecond {
			t.Errorf("got %v after %v", answered, took)
		}
		if answered, took = callAll(w, quick); !answered[0] || took != 0 {
			t.Errorf("got %v after %v", answered, took)
		}
		if _, took = callAll(w); took != 0 {
			t.Errorf("nothing to ask took %v", took)
		}
	})
}

func TestWaiter_HangingOnesCostOneTimeoutTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWaiter()
		release := make(chan struct{})
		first, second, quick := newAnswer(0, release), newAnswer(0, release), newAnswer(0, nil)
		answered, took := callAll(w, first, second, quick)
		if !slices.Equal(answered, []bool{false, false, true}) || took != callTimeout {
			t.Errorf("got %v after %v", answered, took)
		}
		for range 3 { // known to hang: not waited for and not asked again
			time.Sleep(time.Second)
			answered, took = callAll(w, first, second, quick)
			if !slices.Equal(answered, []bool{false, false, true}) || took != 0 {
				t.Errorf("got %v after %v", answered, took)
			}
		}
		if first.asked.Load() != 1 || quick.asked.Load() != 4 {
			t.Errorf("asked %d and %d times, want 1 and 4", first.asked.Load(), quick.asked.Load())
		}
		close(release)
		synctest.Wait()
		answered, took = callAll(w, first, second, quick) // the answers that came late
		if !slices.Equal(answered, []bool{true, true, true}) || took != 0 || first.asked.Load() != 1 {
			t.Errorf("got %v after %v, asked %d times", answered, took, first.asked.Load())
		}
		answered, took = callAll(w, first, second, quick) // as if nothing had been
		if !slices.Equal(answered, []bool{true, true, true}) || took != 0 || first.asked.Load() != 2 {
			t.Errorf("got %v after %v, asked %d times", answered, took, first.asked.Load())
		}
	})
}

func TestWaiter_TimeoutTellsHowLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWaiter()
		a := newAnswer(time.Minute, nil)
		defer time.Sleep(time.Minute)
		callAll(w, a)
		if got, want := a.call.timeout("/x", a.call.started).Error(), "read /x: no answer for 250ms"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(10*time.Second - callTimeout)
		if got, want := a.call.timeout("/x", time.Now()).Error(), "read /x: no answer for 10s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestWaiter_AllocatesNothing(t *testing.T) {
	w := newWaiter()
	calls := []*call{newCall(func() {}), newCall(func() {}), newCall(func() {})}
	at := time.Now()
	if n := testing.AllocsPerRun(200, func() { w.call(at, calls) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkWaiter(b *testing.B) {
	w := newWaiter()
	calls := []*call{newCall(func() {})}
	b.ReportAllocs()
	for b.Loop() {
		w.call(time.Now(), calls)
	}
}
