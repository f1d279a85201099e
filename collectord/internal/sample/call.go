package sample

import (
	"fmt"
	"sync/atomic"
	"time"
)

// callTimeout is how long one Collect waits for all its calls together. Sensors
// answer in microseconds, a network file system near by in milliseconds.
const callTimeout = 250 * time.Millisecond

// patience is how long calls are made one after the other, by one goroutine. To start and to end a
// goroutine for each costs more than what most of them do.
const patience = 5 * time.Millisecond

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
	wanted   atomic.Bool   // to be made by the goroutine that takes it
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

// take reports whether the caller is to make the call.
func (c *call) take() bool { return c.wanted.CompareAndSwap(true, false) }

// waiter makes calls and waits for them no longer than its limit.
type waiter struct {
	limit time.Duration // callTimeout, but in tests of the real kernel
	timer *time.Timer
	row   *row
}

func newWaiter() *waiter {
	timer := time.NewTimer(callTimeout)
	timer.Stop()
	return &waiter{limit: callTimeout, timer: timer, row: newRow()}
}

// row makes calls one after the other.
type row struct {
	calls   []*call
	body    func()
	running bool
	done    chan struct{} // holds one value
}

func newRow() *row {
	r := &row{done: make(chan struct{}, 1)}
	r.body = func() {
		for _, c := range r.calls {
			if c.take() {
				c.body()
			}
		}
		r.done <- struct{}{}
	}
	return r
}

// call makes all calls at once and sets answered. One that has not answered an
// earlier tick is not waited for: its answer counts in the tick in which it is
// there, less than one interval old.
func (w *waiter) call(at time.Time, calls []*call) {
	if len(calls) == 0 {
		return
	}
	w.start(at, calls)
	inRow := min(patience, w.limit)
	w.timer.Reset(inRow)
	expired := false
	for _, c := range calls {
		for !expired && c.started.Equal(at) {
			select {
			case <-c.done:
				c.end()
			case <-w.timer.C:
				if expired = inRow == 0; !expired {
					// One of them is slow or hangs: from here each has a goroutine of its own.
					startEach(calls)
					w.timer.Reset(w.limit - inRow)
					inRow = 0
				}
			}
		}
		select {
		case <-c.done:
			c.end()
		default:
		}
	}
	w.timer.Stop()
	if w.row.running && inRow > 0 { // all have answered, so that it is at its end
		<-w.row.done
		w.row.running = false
	}
}

// start makes the calls that are not under way in one goroutine.
func (w *waiter) start(at time.Time, calls []*call) {
	if w.row.running {
		select {
		case <-w.row.done:
			w.row.running = false
		default:
			w.row = newRow() // the other one hangs
		}
	}
	w.row.calls = w.row.calls[:0]
	for _, c := range calls {
		c.answered = false
		if c.started.IsZero() {
			c.started = at
			c.wanted.Store(true)
			w.row.calls = append(w.row.calls, c)
		}
	}
	if len(w.row.calls) > 0 {
		w.row.running = true
		go w.row.body()
	}
}

// startEach makes each call that is still to be made in a goroutine of its own.
func startEach(calls []*call) {
	for _, c := range calls {
		if c.take() {
			go c.body()
		}
	}
}

func (c *call) end() { c.answered, c.started = true, time.Time{} }

// timeout is the error of a call that has not answered.
func (c *call) timeout(path string, at time.Time) error {
	return fmt.Errorf("read %s: no answer for %s", path, max(at.Sub(c.started), callTimeout).Round(time.Millisecond))
}
