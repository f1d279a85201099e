package main

import (
	"errors"
	"sync/atomic"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
)

// own are collectord's own numbers.
type own struct {
	set metrics.Set

	collected, missed, reclaimed            *metrics.Total
	source, duplicate, invalid, storageLost *metrics.Total
	dropped, panics                         *metrics.Total
	duration                                *metrics.Distribution
	lastCheckpoint                          atomic.Int64 // milliseconds; -1 = none yet
}

// durationBounds are for a tick's collectors: 0.1 ms to 5 s, their deadline.
var durationBounds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5}

func newOwn(path string) *own {
	o := &own{}
	o.lastCheckpoint.Store(-1)
	o.collected = o.set.Counter(&metrics.Collected)
	o.source = o.set.Counter(&metrics.CollectFailed, "source")
	o.duplicate = o.set.Counter(&metrics.CollectFailed, "duplicate")
	o.invalid = o.set.Counter(&metrics.CollectFailed, "invalid")
	o.storageLost = o.set.Counter(&metrics.CollectFailed, "storage")
	o.dropped = o.set.Counter(&metrics.Dropped, "unattended")
	o.set.Counter(&metrics.Dropped, "damaged") // a salvage counts it, see store.Salvaged
	o.duration = o.set.Histogram(&metrics.CollectionDuration, durationBounds...)
	o.missed = o.set.Counter(&metrics.TicksMissed)
	o.set.Func(&metrics.DatabaseSize, func(emit func(float64, ...string)) { emit(float64(store.FileSize(path))) })
	o.set.Func(&metrics.WALSize, func(emit func(float64, ...string)) { emit(float64(store.WALSize(path))) })
	o.set.Func(&metrics.CheckpointDuration, func(emit func(float64, ...string)) {
		if ms := o.lastCheckpoint.Load(); ms >= 0 {
			emit(float64(ms))
		}
	})
	o.reclaimed = o.set.Counter(&metrics.WALReclaimed)
	o.set.AddBytesWritten("collectord")
	o.panics = o.set.Counter(&metrics.Panics, "collectord")
	return o
}

// restore goes on from what an earlier run has left. The last checkpoint is the
// last one also when another run made it.
func (o *own) restore(stats []store.Stat) {
	o.set.Restore(metrics.FromStats(stats))
	for _, s := range stats {
		if s.Name == metrics.CheckpointDuration.Name {
			o.lastCheckpoint.Store(int64(s.Value))
		}
	}
}

// panicked counts err if it is a panic, and returns its stack, "" for any other.
func (o *own) panicked(err error) (stack string) {
	crash, ok := errors.AsType[*run.PanicError](err)
	if !ok {
		return ""
	}
	o.panics.Inc()
	return string(crash.Stack)
}

// checkpointed notes a WAL checkpoint.
func (o *own) checkpointed(r store.CheckpointResult) {
	o.lastCheckpoint.Store(r.Duration.Milliseconds())
	o.reclaimed.Add(float64(max(0, r.WALBefore-r.WALAfter)))
}

// collect notes what a tick tells about itself.
func (o *own) collect(tick *schedule.Tick) {
	var took time.Duration
	for i := range tick.Results {
		r := &tick.Results[i]
		took += r.Duration
		failed := len(r.Errors)
		if r.Err != nil {
			failed++
		}
		o.source.Add(float64(failed))
	}
	o.duration.Observe(took.Seconds())
	o.missed.Add(float64(tick.Missed))
}
