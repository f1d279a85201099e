package schedule

import (
	"context"
	"sync"
	"time"
)

// relay runs tasks one after the other, pass after pass, on one goroutine, the
// leader. When a task overruns its deadline, that goroutine is left behind with
// it and a new leader goes on with the rest; the old one ends by itself when the
// call returns. In the normal case nothing is handed from goroutine to
// goroutine: a hand-over in every tick was measured at 50 µs.
type relay struct {
	deadline time.Duration

	// Owned by the leader.
	queue  []*task
	next   int // index into queue
	plan   func(first bool) ([]*task, bool)
	ctx    context.Context // of run; here because every new leader needs it
	done   chan struct{}   // closed by the last leader
	alarm  *time.Timer     // calls watch
	passed bool            // a pass was planned already

	mu      sync.Mutex
	leader  uint64 // counts leaders; the highest leads
	current *task  // what the leader runs now; nil between passes
	started time.Time
}

// run calls plan for the tasks of a pass, runs them, and so on until plan says
// that there are no more. Of the calls of plan only the first has first set. A
// pass that ctx cuts short is not followed by a plan.
func (r *relay) run(ctx context.Context, plan func(first bool) ([]*task, bool)) {
	r.ctx, r.plan, r.passed = ctx, plan, false
	r.queue, r.next = r.queue[:0], 0
	r.done = make(chan struct{})
	r.alarm = time.AfterFunc(time.Hour, r.watch)
	defer r.alarm.Stop()
	r.mu.Lock()
	r.newLeader()
	r.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		r.mu.Lock()
		if r.current != nil {
			r.leaveBehind()
		}
		r.mu.Unlock()
		<-r.done // the leader sees ctx at its next step
	}
}

// newLeader starts the next leader. It goes on where the one before stopped.
func (r *relay) newLeader() {
	r.leader++
	go r.lead(r.leader)
}

// leaveBehind gives the lead away from the goroutine that is inside r.current.
func (r *relay) leaveBehind() {
	r.current.overran, r.current.stuck = true, true
	r.current = nil
	r.newLeader()
}

// watch is called when a deadline may have passed.
func (r *relay) watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		return // late: the pass is over
	}
	if left := r.deadline - time.Since(r.started); left > 0 {
		r.alarm.Reset(left) // the task that the alarm was set for is done; this is another
		return
	}
	r.leaveBehind()
}

func (r *relay) lead(id uint64) {
	for {
		if !r.pass(id) {
			return // left behind
		}
		if r.ctx.Err() != nil {
			break
		}
		queue, more := r.plan(!r.passed)
		if !more {
			break
		}
		r.queue, r.next, r.passed = queue, 0, true
	}
	close(r.done)
}

// pass runs the rest of the queue. It returns false in a goroutine that was
// left behind and must not touch the relay any more.
func (r *relay) pass(id uint64) (leads bool) {
	now := time.Now()
	t, leads := r.step(id, nil, now)
	if t != nil {
		// One alarm a pass: while tasks are quick it is never late enough to ring.
		r.alarm.Reset(r.deadline)
		defer func() {
			if leads {
				r.alarm.Stop()
			}
		}()
	}
	for t != nil {
		start := now
		t.collect(start)
		now = time.Now()
		t.duration = now.Sub(start)
		t, leads = r.step(id, t, now)
	}
	return leads
}

// step ends one task and begins the next, in one go so that watch always sees
// the task that runs. There is no next one at the end of the queue, when ctx is
// done, and in a goroutine that was left behind.
func (r *relay) step(id uint64, finished *task, now time.Time) (next *task, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader != id {
		finished.stuck = false // from here on it may be run again
		return nil, false
	}
	r.current = nil
	if r.next < len(r.queue) && r.ctx.Err() == nil {
		r.current = r.queue[r.next]
		r.current.overran = false
		r.started = now
		r.next++
	}
	return r.current, true
}

// isStuck tells whether a task is still inside a call that overran.
func (r *relay) isStuck(t *task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.stuck
}
