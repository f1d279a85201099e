package sample

import (
	"fmt"
	"time"
)

// callTimeout is how long one Collect waits for all its calls together. Sensors
// answer in microseconds, a network file system near by in milliseconds.
const callTimeout = 250 * time.Millisecond

// call is a system call that may hang: on a dead sensor, or on a network file
// system whose server is away. It runs in a goroutine, which a hanging one keeps
// for as long as it hangs; nothing can end it, so nothing waits for it either. It
// is never made a second time while the first is under way.
//
// While a FUSE server or a driver hangs, the kernel does not release the
// thread, not even when the process is killed: it stays as a zombie with its
// files open. Locks that another process needs must be given up before.
type call struct {
	body     func()
	done     chan struct{} // holds one value, so that a late call never blocks
	started  time.Time     // the tick that made the call under way; zero if none is
	answered bool          // in the present tick: what the call has left may be read
}

// newCall makes a call of a function, which leaves its result where the owner of
// the call reads it.
func newCall(f func()) *call {
	c := &call{done: make(chan struct{}, 1)}
	c.body = func() { // made once, so that a call allocates nothing
		f()
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
		if c.started.IsZero() {
			c.started = at
			go c.body()
		}
	}
	w.timer.Reset(w.limit)
	waiting := true
	for _, c := range calls {
		if waiting && c.started.Equal(at) {
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

func (c *call) end() { c.answered, c.started = true, time.Time{} }

// timeout is the error of a call that has not answered.
func (c *call) timeout(path string, at time.Time) error {
	return fmt.Errorf("read %s: no answer for %s", path, max(at.Sub(c.started), callTimeout).Round(time.Millisecond))
}
