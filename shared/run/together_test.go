package run

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTogether(t *testing.T) {
	t.Parallel()
	f := func(at, every, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(at) // from the beginning of a year on
			if got := Together(every); got != want {
				t.Errorf("%v after a multiple, every %v: got %v, want %v", at, every, got, want)
			}
		})
	}
	const ms = time.Millisecond
	f(0, 10*time.Second, 10001*ms)
	f(4*time.Second, 10*time.Second, 6001*ms)
	f(6*time.Second, 10*time.Second, 4001*ms) // others rely on a turn every 10 s
	f(9*time.Second, 10*time.Second, 1001*ms)
	f(9999*ms, 10*time.Second, 10002*ms) // woken early, or the clock was set back a little: not twice
	f(13*ms, 10*time.Second, 9988*ms)    // woken late: the next turn is not
	f(90*time.Second, time.Minute, 30001*ms)
}

// TestTogether_Turns: what began at different moments comes together, and stays.
func TestTogether_Turns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turn := func(begin, every time.Duration) (at time.Time) {
			time.Sleep(begin)
			tick := time.NewTicker(every)
			defer tick.Stop()
			for range 6 {
				<-tick.C
				tick.Reset(Together(every))
			}
			return time.Now()
		}
		for _, begin := range []time.Duration{0, 300 * time.Millisecond, 7 * time.Second} {
			if at := turn(begin, 10*time.Second); at.UnixMilli()%10_000 != 1 {
				t.Errorf("begun %v after: the sixth turn is at %v, want a millisecond after a multiple of 10 s", begin, at)
			}
		}
	})
}
