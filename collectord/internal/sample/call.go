package sample

import (
	"fmt"
	"time"
)

// callTimeout is how long one Collect waits for all its calls together. Sensors
// answer in microseconds, a network file system near by in milliseconds.
const callTimeout = 250 * time.Millisecond

// call is a question to the kernel that may hang: a dead sensor, a network
// file system whose server is away. It is asked in a goroutine, which a hanging
// one keeps for as long as it hangs; nothing else can end it, so nothing waits
// for it either. At most one question of a call is under way.
//
// While a FUSE server or a driver hangs, the kernel does not let the asking
// thread go, not even when the process is killed: it stays as a zombie with its
// files open. Locks that another process needs must be given up before.
type call struct {
	body     func()
	done     chan struct{} // has room for one, so that a late answer never waits
	asked    time.Time     // the tick that asked what is under way; zero if nothing is
	answered bool          // of the last ask: what the question left behind may be read
}

// newCall makes a call of a question, which leaves its answer where the owner
// of the call finds it.
func newCall(question func()) *call {
	c := &call{done: make(chan struct{}, 1)}
	c.body = func() { // made once, so that asking allocates nothing
		question()
		c.done <- struct{}{}
	}
	return c
}

// waiter makes calls and waits for them no longer than its limit.
type waiter struct {
	limit time.Duration // callTimeout, but in tests of the real kernel
	timer *time.Timer
}

func newWaiter() *waiter {
	timer := time.NewTimer(callTimeout)
	timer.Stop()
	return &waiter{callTimeout, timer}
}

// call makes all calls at once and sets answered. One that has not answered an
// earlier tick is not waited for: its answer counts in the tick in which it is
// there, less than one interval old.
func (w *waiter) call(at time.Time, calls []*call) {
	if len(calls) == 0 {
		return
	}
	for _, c := range calls {
		c.answered = false
		if c.asked.IsZero() {
			c.asked = at
			go c.body()
		}
	}
	w.timer.Reset(w.limit)
	waiting := true
	for _, c := range calls {
		if waiting && c.asked.Equal(at) {
			select {
			case <-c.done:
				c.end()
				continue
			case <-w.timer.C:
				waiting = false
			}
		}
		select {
		case <-c.done:
			c.end()
		default:
		}
	}
	w.timer.Stop()
}

func (c *call) end() { c.answered, c.asked = true, time.Time{} }

// timeout is the error of a call that has not answered.
func (c *call) timeout(path string, at time.Time) error {
	return fmt.Errorf("read %s: no answer for %s", path, max(at.Sub(c.asked), callTimeout).Round(time.Millisecond))
}
