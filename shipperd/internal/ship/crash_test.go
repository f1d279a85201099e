package ship

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
)

// TestCrash kills the loop at each named point, the first, second ... time it is
// reached, under servers of all kinds, and starts it anew on what the file says.
func TestCrash(t *testing.T) {
	t.Parallel()
	servers := map[string]func(vm *testkit.FakeVM){
		"well": func(vm *testkit.FakeVM) {},
		"loses replies": func(vm *testkit.FakeVM) {
			vm.Then(testkit.ResetAfter(testkit.WholeBody, testkit.KeepEvery(2)), testkit.Answer(500, testkit.KeepAll), testkit.Answer(503, testkit.KeepNone))
		},
		"throws away": func(vm *testkit.FakeVM) {
			vm.Then(testkit.AcceptSome(testkit.KeepEvery(3)), testkit.AcceptSome(testkit.KeepNone))
		},
		"refuses": func(vm *testkit.FakeVM) {
			vm.Then(testkit.Answer(400, testkit.KeepFirst(20)), testkit.Answer(413, testkit.KeepNone))
		},
	}
	points := map[string]int{"recorded": 4, "sent": 5, "marked": 4, "verified": 2, "requeued": 2}
	for server, script := range servers {
		for point, most := range points {
			t.Run(fmt.Sprint(point, ", server ", server), func(t *testing.T) {
				t.Parallel()
				reached := false
				for nth := 1; nth <= most; nth++ {
					synctest.Test(t, func(t *testing.T) {
						if crashAt(t, script, point, nth) {
							reached = true
						}
					})
				}
				if never := point == "requeued" && server == "well"; reached == never {
					t.Errorf("%q was reached: %v", point, reached)
				}
			})
		}
	}
}

// crashAt runs a device until the loop dies at the nth time of a point, if it
// comes so far, and continues with a new one.
func crashAt(t *testing.T, script func(*testkit.FakeVM), point string, nth int) bool {
	r := newRig(t, 20)
	var reached atomic.Bool
	script(r.vm)
	seen := 0
	r.atCrash(func(at string) {
		if at == point && !reached.Load() {
			if seen++; seen == nth {
				reached.Store(true)
				panic(killed{at})
			}
		}
	})
	r.run()
	for range 20 {
		if reached.Load() {
			break
		}
		r.live(time.Minute, 10*time.Second)
	}
	r.check()
	r.restart()
	r.live(5*time.Minute, 10*time.Second)
	r.deliver(time.Hour)
	return reached.Load()
}

// TestRestart stops and starts the loop in order, again and again, with requests
// under way.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.vm.Otherwise(testkit.AcceptSlowly(2 * time.Second))
		r.run()
		dice := rand.New(rand.NewPCG(3, 4)) // r.rand is the loop's
		for range 100 {
			r.pass(time.Duration(1+dice.IntN(40))*time.Second, 5*time.Second)
			r.restart()
		}
		r.check()
		r.deliver(time.Hour)
	})
}

// TestStop_ReplyStillCounts: a reply that comes within the grace of a stop is
// marked, so that the next start has nothing to read back.
func TestStop_ReplyStillCounts(t *testing.T) {
	t.Parallel()
	for delay, marked := range map[time.Duration]bool{2 * time.Second: true, 10 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 20)
			r.tick(r.now())
			r.vm.Then(testkit.AcceptSlowly(delay))
			r.run()
			for len(r.vm.Imports()) == 0 {
				r.sleep(100 * time.Millisecond)
			}
			start := time.Now()
			r.halt()
			if took := time.Since(start); took > stopGrace {
				t.Errorf("stopping took %v", took)
			}
			if pending, _ := r.left(); (len(pending) == 0) != marked {
				t.Errorf("after a reply that took %v %d rows are pending", delay, len(pending))
			}
			r.check()
			r.restart()
			r.deliver(time.Hour)
		})
	}
}

// TestStop_Idle: a loop that waits stops at once.
func TestStop_Idle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.run()
		r.sleep(time.Hour)
		beats := r.beats.Load()
		if least := int64(time.Hour / (10 * time.Second)); beats < least {
			t.Errorf("%d beats in an idle hour, want one every few seconds", beats)
		}
		start := time.Now()
		r.halt()
		if took := time.Since(start); took > 0 {
			t.Errorf("stopping took %v", took)
		}
		if n := len(r.vm.Requests()); n != 0 {
			t.Errorf("%d requests with nothing to send", n)
		}
	})
}
