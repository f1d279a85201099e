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
	make     func()
	wanted   atomic.Bool // to be made by the goroutine that takes it
	made     atomic.Bool // and the owner has not seen it yet
	started  time.Time   // the tick that made the call under way; zero if none is
	answered bool        // in the present tick: what the call has left may be read
}

// newCall makes a call of a function, which leaves its result where the owner of
// the call reads it.
func newCall(f func()) *call { return &call{make: f} }

// run makes the call if nobody else does.
func (c *call) run() {
	if c.wanted.CompareAndSwap(true, false) {
		c.make()
		c.made.Store(true)
	}
}

// waiter makes calls and waits for them no longer than its limit.
type waiter struct {
	limit time.Duration // callTimeout, but in tests of the real kernel
	timer *time.Timer
	row   *row
	woken chan struct{} // holds one value: look again which calls were made
}

func newWaiter() *waiter {
	timer := time.NewTimer(callTimeout)
	timer.Stop()
	w := &waiter{limit: callTimeout, timer: timer, woken: make(chan struct{}, 1)}
	w.row = w.newRow()
	return w
}

// wake lets the waiter look again.
func (w *waiter) wake() {
	select {
	case w.woken <- struct{}{}:
	default: // it will anyway
	}
}

// row makes calls one after the other.
type row struct {
	calls   []*call
	body    func()
	running atomic.Bool
}

func (w *waiter) newRow() *row {
	r := &row{}
	r.body = func() { // made once, so that a row allocates nothing
		for _, c := range r.calls {
			c.run()
		}
		r.running.Store(false)
		w.wake()
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
	left := w.limit - min(patience, w.limit)
	w.timer.Reset(w.limit - left)
	for !allAnswered(at, calls) {
		select {
		case <-w.woken:
			continue
		case <-w.timer.C:
		}
		if left <= 0 {
			break
		}
		// One of them is slow or hangs: from here each has a goroutine of its own.
		for _, c := range calls {
			if c.wanted.Load() {
				go func() { c.run(); w.wake() }()
			}
		}
		w.timer.Reset(left)
		left = 0
	}
	w.timer.Stop()
}

// start makes the calls that are not under way in one goroutine.
func (w *waiter) start(at time.Time, calls []*call) {
	if w.row.running.Load() {
		w.row = w.newRow() // the other one hangs
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
		w.row.running.Store(true)
		go w.row.body()
	}
}

// allAnswered sets answered and returns whether all calls of this tick have.
func allAnswered(at time.Time, calls []*call) bool {
	all := true
	for _, c := range calls {
		if c.made.Load() {
			c.made.Store(false)
			c.answered, c.started = true, time.Time{}
		}
		all = all && !c.started.Equal(at)
	}
	return all
}

// timeout is the error of a call that has not answered.
func (c *call) timeout(path string, at time.Time) error {
	return fmt.Errorf("read %s: no answer for %s", path, max(at.Sub(c.started), callTimeout).Round(time.Millisecond))
}
