package ship

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// drainAll runs Drain, checks the state, and returns how long it took and Drain's
// error.
func (r *rig) drainAll() (took time.Duration, err error) {
	r.t.Helper()
	start := time.Now()
	calls := 0
	err = r.shipper.Drain(r.t.Context(), func(Counts) { calls++ })
	if calls == 0 {
		r.t.Error("no progress was reported")
	}
	r.check()
	return time.Since(start), err
}

// TestDrain ends only when everything is proven.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, script := range map[string][]testkit.Step{
		"well":             nil,
		"reply lost":       {testkit.ResetAfter(testkit.WholeBody, testkit.KeepAll)},
		"stored and away":  {testkit.Answer(503, testkit.KeepAll), testkit.Answer(503, testkit.KeepAll)},
		"refused":          {testkit.Answer(400, testkit.KeepNone)},
		"Retry-After":      {testkit.RetryAfter(429, "30")},
		"wants to be left": {testkit.RetryAfter(429, "900")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(3, 10*time.Second)
				r.vm.Then(script...)
				took, err := r.drainAll()
				if err != nil || !r.settled() {
					t.Errorf("%v, everything settled: %v", err, r.settled())
				}
				if most := 20 * time.Minute; took < 15*time.Second || took > most {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// TestDrain_NotVisible: what does not show is not sent again, since nothing was sent later. The end
// says how much it is; a later run, with samples that came since, finishes it.
func TestDrain_NotVisible(t *testing.T) {
	t.Parallel()
	for want, step := range map[string]testkit.Step{
		"0 samples are pending, 0 of them in doubt, and 40 accepted":  testkit.AcceptSome(testkit.KeepEvery(3)),
		"0 samples are pending, 0 of them in doubt, and 60 accepted":  testkit.AcceptSome(testkit.KeepNone),
		"60 samples are pending, 60 of them in doubt, and 0 accepted": testkit.Answer(503, testkit.KeepNone),
		"30 samples are pending, 30 of them in doubt, and 0 accepted": testkit.ResetAfter(testkit.WholeBody, testkit.KeepFirst(30)),
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 20)
			r.ticks(3, 10*time.Second)
			r.vm.Then(step)
			r.shipper.sending.lastAccepted = time.Now() // all of it in one request
			took, err := r.drainAll()
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "does not show") || took > 5*time.Minute {
				t.Errorf("%v after %v, want %q", err, took, want)
			}
			r.all = append(r.all, r.shipper.Stats.Snapshot())
			r.wire()
			r.tick(r.now())
			if took, err = r.drainAll(); err != nil || !r.settled() {
				t.Errorf("%v after %v, settled %v", err, took, r.settled())
			}
		})
	}
}

// TestDrain_Ahead: rows of a clock that was ahead are delivered at their true time, and what is
// collected meanwhile is not waited for.
func TestDrain_Ahead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		r.allow.off = 100 * time.Millisecond
		r.skew.Store(int64(24 * time.Hour))
		r.records(40*time.Second, 10*time.Second)
		r.skew.Store(0)
		done := make(chan error, 1)
		go func() { done <- r.shipper.Drain(t.Context(), func(Counts) {}) }()
		for end := time.Now().Add(time.Hour); time.Now().Before(end); {
			r.sleep(10 * time.Second)
			r.record()
			select {
			case err := <-done:
				if err != nil || len(r.vm.Samples()) < 16 {
					t.Errorf("%v, %d samples at the server", err, len(r.vm.Samples()))
				}
				r.check()
				return
			default:
			}
		}
		t.Error("an hour is not enough")
	})
}

func TestDrain_Nothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		if took, err := r.drainAll(); err != nil || took != 0 {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestDrain_Alive: rows that collectord inserts meanwhile are not waited for.
func TestDrain_Alive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(3, 10*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- r.shipper.Drain(ctx, func(Counts) {}) }()
		synctest.Wait()
		r.pass(5*time.Minute, time.Second)
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.check()
		for i, n := range r.copies() {
			if i < 60 && n != 1 {
				t.Errorf("sample %d is %d times at the server", i+1, n)
			}
		}
	})
}

// TestDrain_GivesUp: a server that takes nothing, or proves nothing, ends it soon,
// with the reason and what is left.
func TestDrain_GivesUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step testkit.Step
		want string
		most time.Duration
	}{
		"401":           {testkit.Answer(401, testkit.KeepNone), "401 Unauthorized", time.Minute},
		"redirect":      {testkit.RedirectTo("http://elsewhere.invalid/"), "redirects to http://elsewhere.invalid", time.Minute},
		"404":           {testkit.Answer(404, testkit.KeepNone), "404", time.Minute},
		"503":           {testkit.Answer(503, testkit.KeepNone), "503", 3 * time.Minute},
		"no answer":     {testkit.Hang(testkit.WholeBody, testkit.KeepNone), "no answer in time", 5 * time.Minute},
		"400 to all":    {testkit.Answer(400, testkit.KeepNone), "refuses everything", 10 * time.Minute},
		"413 to all":    {testkit.Answer(413, testkit.KeepNone), "refuses everything", 10 * time.Minute},
		"429 for hours": {testkit.RetryAfter(429, "3000"), "429", 4 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(3, 10*time.Second)
				r.vm.Otherwise(c.step)
				took, err := r.drainAll()
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "60 samples are pending") {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if took > c.most {
					t.Errorf("took %v", took)
				}
				if fault, ok := errors.AsType[*victoria.Error](err); !ok {
					t.Errorf("%v hides its cause, %v", err, fault)
				}
				r.deadLetters(0, "", "")
				// A later run finishes what is left.
				r.fine()
				r.restart()
				r.deliver(time.Hour)
			})
		})
	}
}

// TestDrain_Gone: no server listens.
func TestDrain_Gone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(3, 10*time.Second)
		r.vm.GoAway()
		if took, err := r.drainAll(); err == nil || !strings.Contains(err.Error(), "connection refused") || took > time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestDrain_Unreadable: what was accepted and cannot be read back is not done.
func TestDrain_Unreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(3, 10*time.Second)
		r.refuseReads(100, 403)
		if took, err := r.drainAll(); err == nil || !strings.Contains(err.Error(), "60 accepted but not proven") ||
			!strings.Contains(err.Error(), "403") || took > 10*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestDrain_Stopped ends with its context.
func TestDrain_Stopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(3, 10*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.shipper.Drain(ctx, func(Counts) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		r.check()
	})
}
