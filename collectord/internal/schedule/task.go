package schedule

import (
	"math"
	"runtime/debug"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/run"
)

// task is one collector and what it gave last.
type task struct {
	collector sample.Collector

	// Owned by the leader of the relay.
	interval int64     // ms
	slot     int64     // of its own interval in which it last had its turn
	retryAt  time.Time // not supported here before this moment

	// Written by whoever runs the collector, read by the leader if it did not
	// overrun.
	batch    sample.Batch
	duration time.Duration
	err      error

	// Guarded by relay.mu, except that the leader may read overran.
	overran bool // its deadline passed in this pass
	stuck   bool // it is still inside the call in which it overran
}

// noSlot stands for "no time at all".
const noSlot = math.MinInt64

// takeSlot tells whether the collector has its turn at time ms, which is when
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

// collect runs the collector. at is now.
func (t *task) collect(at time.Time) {
	t.batch.Reset()
	t.err = guard(t.collector.Name(), func() error { return t.collector.Collect(at, &t.batch) })
}

// PanicError is a panic, caught: of a collector, or of the function that takes
// the ticks.
type PanicError = run.PanicError

// guard calls f and makes an error of its panic.
func guard(name string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Task: name, Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
