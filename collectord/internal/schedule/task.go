package schedule

import (
	"context"
	"math"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/run"
)

// task is one collector and what it returned last.
type task struct {
	collector sample.Collector
	ignore    sample.Ignored
	interval  int64     // ms
	slot      int64     // of its own interval in which it last had its turn
	retryAt   time.Time // not supported here before this moment
	stuck     bool      // its call has overrun and has not returned yet

	// Written by the goroutine of the calls, read once done has a value.
	at       time.Time
	batch    sample.Batch
	duration time.Duration
	err      error

	call func()
	done chan struct{} // holds one value, so that a late call never blocks
}

func newTask(c sample.Collector, interval time.Duration, ignore sample.Ignored) *task {
	t := &task{collector: c, ignore: ignore, interval: interval.Milliseconds(), slot: noSlot, done: make(chan struct{}, 1)}
	collect := func(context.Context) error { return c.Collect(t.at, &t.batch) }
	t.call = func() { // made once, so that a tick allocates nothing
		t.batch.Begin(t.at, t.ignore)
		t.err = run.Protect(context.Background(), c.Name(), collect)
		t.duration = time.Since(t.at)
		t.done <- struct{}{}
	}
	return t
}

// makeCalls is the goroutine in which collectors are called, one after the other. It stays from
// tick to tick: a new one grows its stack in every call, which was a tenth of a tick. A call that
// hangs keeps it for as long as it hangs, because nothing can end it, and the scheduler continues
// with another. It ends once calls is closed.
func makeCalls(calls <-chan *task) {
	for t := range calls {
		t.call()
	}
}

// noSlot means "no time at all".
const noSlot = math.MinInt64

// takeSlot reports whether the collector has its turn at time ms, which is when
// ms lies in another slot of its interval than its last turn. So a collector
// with a long interval runs in the first tick of all, and where its own tick was
// missed it runs in the next one.
func (t *task) takeSlot(ms int64) bool {
	slot := ms / t.interval
	if slot == t.slot {
		return false
	}
	t.slot = slot
	return true
}

// isStuck reports whether the call of an earlier tick still runs. What a late call
// has read is discarded.
func (t *task) isStuck() bool {
	if t.stuck {
		select {
		case <-t.done:
			t.stuck = false
		default:
		}
	}
	return t.stuck
}
