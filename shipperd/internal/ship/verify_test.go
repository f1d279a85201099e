package ship

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// pass lets the device take a tick every step for a while, with the loop at work.
func (r *rig) pass(d, step time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		r.sleep(step)
		r.tick(r.now())
	}
}

// live is pass with the checker at its end.
func (r *rig) live(d, step time.Duration) {
	r.t.Helper()
	r.pass(d, step)
	r.check()
}

// TestServerRestarts: a killed VictoriaMetrics forgets up to ten seconds of what
// it answered 204 to. Verification brings them back, and as the server was seen
// to go, that does not count against the samples.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	for _, down := range []time.Duration{0, 2 * time.Second, time.Hour} {
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) { r.cfg.Verify.MaxResends = 0 }) // one that counts is one too many
				r.run()
				lost := 0
				for range 20 {
					r.sleep(time.Second) // the last tick was of this moment
					r.tick(r.now())
					before := len(r.vm.Imports())
					for len(r.vm.Imports()) == before {
						r.sleep(time.Second)
					}
					r.vm.GoAway()
					r.sleep(down)
					lost += r.vm.Restart(10*time.Second + down)
					r.live(time.Minute, 10*time.Second)
				}
				r.deliver(time.Hour)
				if c := r.counts(); lost == 0 || c.Requeued < int64(lost) {
					t.Errorf("the server lost %d samples, %d were sent again", lost, c.Requeued)
				}
			})
		})
	}
}

// TestServerGone: minutes, then half an hour without a server, in the ways a server can
// be gone.
func TestServerGone(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(r *rig) (back func()){
		"refused":    func(r *rig) func() { r.vm.GoAway(); return r.vm.ComeBack },
		"503":        func(r *rig) func() { r.vm.Otherwise(testkit.Answer(503, testkit.KeepNone)); return r.fine },
		"502 stored": func(r *rig) func() { r.vm.Otherwise(testkit.Answer(502, testkit.KeepAll)); return r.fine },
		"hangs": func(r *rig) func() {
			r.vm.Otherwise(testkit.Hang(testkit.WholeBody, testkit.KeepNone))
			return r.fine
		},
		"resets": func(r *rig) func() {
			r.vm.Otherwise(testkit.ResetAfter(testkit.HalfBody, testkit.KeepEvery(2)))
			return r.fine
		},
		"429": func(r *rig) func() { r.vm.Otherwise(testkit.RetryAfter(429, "600")); return r.fine },
		"login page": func(r *rig) func() {
			page := testkit.Step{Keep: testkit.KeepNone, Status: 200, Header: map[string][]string{"Content-Type": {"text/html"}}, Body: "<html>log in"}
			r.vm.Otherwise(page)
			return r.fine
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.run()
				r.live(5*time.Minute, 10*time.Second)
				for _, d := range []time.Duration{5 * time.Minute, 30 * time.Minute} {
					back := gone(r)
					r.live(d, d/100)
					back()
					r.live(10*time.Minute, 10*time.Second)
				}
				r.deliver(time.Hour)
				r.deadLetters(0, "", "")
				r.has("uploads work again")
			})
		})
	}
}

func (r *rig) fine() { r.vm.Otherwise(testkit.Accept()) }

// TestThrowsAway: a server answers 204 and throws one series away. Nothing is sent again, since
// nothing of it ever shows; it is told, and after two hours the samples are dead letters.
func TestThrowsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(3, 10*time.Second)
		bad := r.samples[0].series
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Series != bad }))
		r.allow.deadLetters = func(s sample) bool { return s.series == bad }
		r.run()
		r.live(7*time.Minute, time.Minute)
		if c := r.counts(); !c.Unkept.Equal(time.UnixMilli(r.samples[0].key.TimestampMS())) || c.UnkeptSince.IsZero() || !c.NotVisible.IsZero() {
			t.Errorf("got %v since %v, want the oldest sample that is thrown away", c.Unkept, c.UnkeptSince)
		}
		r.live(100*time.Minute, time.Minute)
		r.deadLetters(0, "", "")
		r.live(time.Hour, time.Minute)
		c := r.counts()
		if c.Rejected["not_stored"] < 10 || c.Requeued != 0 {
			t.Errorf("dead letters %v, %d sent again", c.Rejected, c.Requeued)
		}
		r.deadLetters(int(c.Rejected["not_stored"]), "not_stored", "in two hours nothing of its series has shown")
		r.silent = true
		r.vm.Otherwise(testkit.Accept())
		r.live(10*time.Minute, time.Minute)
		r.deliver(6 * time.Hour)
		if c := r.counts(); !c.Unkept.IsZero() || !c.UnkeptSince.IsZero() {
			t.Errorf("got %v since %v at the end, want none", c.Unkept, c.UnkeptSince)
		}
	})
}

// TestThrowsAway_Samples: a server that answers 204 and stores nothing of some samples, of series
// that it shows, gets them MaxResends times more, with growing pauses; then they are dead letters.
func TestThrowsAway_Samples(t *testing.T) {
	t.Parallel()
	for _, resends := range []int{0, 1, 5} {
		t.Run(fmt.Sprint(resends), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) { r.cfg.Verify.MaxResends = resends })
				r.ticks(1, 10*time.Second)
				bad := func(s testkit.Sample) bool { return int(s.Value) <= 3 }
				var times []time.Time
				r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool {
					if int(s.Value) == 1 {
						times = append(times, time.Now())
					}
					return !bad(s)
				}))
				r.allow.deadLetters = func(s sample) bool { return slices.Contains(r.samples[:3], s) }
				r.run()
				r.live(2*time.Hour, 10*time.Second)
				r.deliver(time.Hour)
				r.deadLetters(3, "not_stored", fmt.Sprintf("accepted %d times", resends+1))
				if len(times) != resends+1 {
					t.Errorf("sent %d times, want %d", len(times), resends+1)
				}
				for i := 3; i < len(times); i++ {
					if a, b := times[i-1].Sub(times[i-2]), times[i].Sub(times[i-1]); b < a-2*time.Minute {
						t.Errorf("pauses %v, then %v", a, b)
					}
				}
			})
		})
	}
}

// TestEnded: a killed server forgets samples of a series that ends with them. There is no witness;
// after two hours they are sent again, once.
func TestEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.run()
		r.live(5*time.Minute, 10*time.Second)
		r.vm.Then(testkit.AcceptSome(testkit.KeepEvery(2)))
		r.tick(r.now().Add(time.Millisecond))
		r.series = r.series[:1] // the others have ended
		r.live(110*time.Minute, 10*time.Second)
		if c := r.counts(); c.Requeued > 3 { // of the series that continues
			t.Errorf("%d sent again without a witness", c.Requeued)
		}
		r.live(time.Hour, 10*time.Second)
		r.deliver(time.Hour)
		r.deadLetters(0, "", "")
		if c := r.counts(); c.Requeued < 5 || c.Requeued > 60 {
			t.Errorf("%d sent again", c.Requeued)
		}
	})
}

// TestDedup: a server with a deduplication interval hides from all readers what it leaves out, long
// before it deletes it.
func TestDedup(t *testing.T) {
	t.Parallel()
	for keep, step := range map[time.Duration]time.Duration{10 * time.Second: time.Second, 15 * time.Minute: 10 * time.Second} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 4, func(r *rig) {
					r.vm = testkit.StartFakeVM(t, testkit.FakeConfig{InMemory: true, VisibleAfter: 2 * time.Second, Poison: 11 * time.Second, Dedup: keep})
					r.client.Dial = r.vm.Dial
				})
				r.allow.doubles = true // which nobody sees
				r.run()
				r.live(max(20*time.Minute, 12*keep), step)
				r.deliver(3 * time.Hour)
				r.deadLetters(0, "", "")
				c := r.counts()
				t.Logf("%d samples, %d requeued, %d deduplicated", len(r.samples), c.Requeued, c.Deduplicated)
				if c.Deduplicated == 0 || c.Requeued > 4*int64(len(r.samples)) {
					t.Errorf("%d requeued, %d deduplicated of %d", c.Requeued, c.Deduplicated, len(r.samples))
				}
			})
		})
	}
}

// TestSameName: two series that become one at the server are both delivered.
func TestSameName(t *testing.T) {
	t.Parallel()
	for _, keep := range []testkit.Keep{testkit.KeepAll, testkit.KeepNone, testkit.KeepFirst(3)} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1)
			r.series = append(r.series, store.NewSeries("dev", "a.b", store.Number), store.NewSeries("dev", "a_b", store.Number))
			for range 3 {
				r.insert(r.now().Add(-2*time.Second), r.series[0], r.series[1])
				r.insert(r.now().Add(-time.Second), r.series[2])
				r.sleep(10 * time.Second)
			}
			r.vm.Then(testkit.Answer(500, keep))
			r.run()
			r.deliver(time.Hour)
		})
	}
}
