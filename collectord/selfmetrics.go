package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
)

// selfMetrics are collectord's metrics about itself and about the file.
type selfMetrics struct {
	set metrics.Set

	collected, missed, reclaimed            *metrics.Total
	source, duplicate, invalid, storageLost *metrics.Total
	dropped, panics                         *metrics.Total
	duration                                *metrics.Distribution
	refused                                 func(reason string)
	lastCheckpoint                          atomic.Int64 // milliseconds; -1 = none yet
	synchronised                            atomic.Int32 // a clock.Sync, of the last tick
}

// durationBounds are for a tick's collectors: 0.1 ms to 5 s, their deadline.
var durationBounds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5}

func newSelfMetrics(path string) *selfMetrics {
	m := &selfMetrics{}
	m.lastCheckpoint.Store(-1)
	m.collected = m.set.Counter(&metrics.Collected)
	m.source = m.set.Counter(&metrics.CollectFailed, "source")
	m.duplicate = m.set.Counter(&metrics.CollectFailed, "duplicate")
	m.invalid = m.set.Counter(&metrics.CollectFailed, "invalid")
	m.storageLost = m.set.Counter(&metrics.CollectFailed, "storage")
	m.dropped = m.set.Counter(&metrics.Dropped, "unattended")
	m.set.Counter(&metrics.Dropped, "damaged") // a salvage counts it, see store.Salvaged
	m.duration = m.set.Histogram(&metrics.CollectionDuration, durationBounds...)
	m.missed = m.set.Counter(&metrics.TicksMissed)
	m.set.Func(&metrics.DatabaseSize, func(emit func(float64, ...string)) { emit(float64(store.FileSize(path))) })
	m.set.Func(&metrics.WALSize, func(emit func(float64, ...string)) { emit(float64(store.WALSize(path))) })
	m.set.Func(&metrics.CheckpointDuration, func(emit func(float64, ...string)) {
		if ms := m.lastCheckpoint.Load(); ms >= 0 {
			emit(float64(ms))
		}
	})
	m.synchronised.Store(int32(clock.Synchronised())) // the first tick has it, too
	m.set.Func(&metrics.ClockSynchronised, func(emit func(float64, ...string)) {
		if s := clock.Sync(m.synchronised.Load()); s != clock.Unknown {
			emit(float64(s - clock.No))
		}
	})
	m.reclaimed = m.set.Counter(&metrics.WALReclaimed)
	m.set.AddBytesWritten("collectord")
	m.panics = m.set.Counter(&metrics.Panics, "collectord")
	m.refused = m.set.AddHTTPRefused("collectord", health.Refusals())
	return m
}

// restore makes the totals go on where the last run left them. The last checkpoint
// is the last one also when another run made it.
func (m *selfMetrics) restore(stats []store.Stat) {
	m.set.Restore(metrics.FromStats(stats))
	for _, s := range stats {
		if s.Name == metrics.CheckpointDuration.Name {
			m.lastCheckpoint.Store(int64(s.Value))
		}
	}
}

// save writes the totals down for the next run.
func (m *selfMetrics) save(ctx context.Context, inserter *store.Inserter) error {
	return inserter.SaveStats(ctx, metrics.Stats(m.set.Points()))
}

// panicked counts err if it is a panic, and returns its stack, "" for any other.
func (m *selfMetrics) panicked(err error) (stack string) {
	crash, ok := errors.AsType[*run.PanicError](err)
	if !ok {
		return ""
	}
	m.panics.Inc()
	return string(crash.Stack)
}

// checkpointed notes a WAL checkpoint.
func (m *selfMetrics) checkpointed(r store.CheckpointResult) {
	m.lastCheckpoint.Store(r.Duration.Milliseconds())
	m.reclaimed.Add(float64(max(0, r.WALBefore-r.WALAfter)))
}

// observe counts the failures, the duration and the missed ticks of a tick.
func (m *selfMetrics) observe(tick *schedule.Tick) {
	var took time.Duration
	for i := range tick.Results {
		r := &tick.Results[i]
		took += r.Duration
		failed := len(r.Errors)
		if r.Err != nil {
			failed++
		}
		m.source.Add(float64(failed))
	}
	m.duration.Observe(took.Seconds())
	m.missed.Add(float64(tick.Missed))
	m.synchronised.Store(int32(tick.Moment.Sync))
}
