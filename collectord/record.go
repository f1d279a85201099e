package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/wal"
)

// recorder stores ticks. A tick that cannot be stored is counted and let go:
// sampling goes on, and the file takes what comes after.
type recorder struct {
	inserter *store.Inserter
	self     *selfMetrics
	state    *vitals
	log      *slog.Logger
	beat     func()
	wal      *wal.Checkpointer         // ensures headroom; nil = the WAL has no limit
	storing  *logx.Throttle            // ticks
	saving   *logx.Throttle            // self-metrics
	refused  *logx.Throttle            // samples, by the file
	late     *logx.Throttle            // ticks
	stepped  *logx.Throttle            // the wall clock
	renamed  *logx.Throttle            // network interfaces
	sources  map[string]*logx.Throttle // by collector

	ticks, inserted, lostTicks int64 // of this run, for its last line
}

func newRecorder(inserter *store.Inserter, self *selfMetrics, state *vitals, log *slog.Logger, beat func()) *recorder {
	throttle := func() *logx.Throttle { return logx.NewThrottle(time.Minute, nil) }
	return &recorder{
		inserter: inserter, self: self, state: state, beat: beat,
		log:     log.With(logx.KeySessionID, inserter.Session().UUID),
		storing: throttle(), saving: throttle(), refused: throttle(), late: throttle(), stepped: throttle(), renamed: throttle(),
		sources: map[string]*logx.Throttle{},
	}
}

// record stores one tick in one transaction. Crash window: until Insert returns
// the tick is lost as a whole, after it a kill loses nothing of it.
func (r *recorder) record(ctx context.Context, tick *schedule.Tick) error {
	r.beat()
	r.report(tick)
	if r.wal != nil {
		r.wal.EnsureHeadroom(ctx)
	}
	result, err := r.inserter.Insert(ctx, tick.Time, tick.Samples)
	if ctx.Err() != nil {
		return nil
	}
	r.ticks++
	r.state.stored(tick.Time, err)
	if errors.Is(err, store.ErrFull) && r.wal != nil {
		r.wal.DiskFull()
	}
	if errors.Is(err, store.ErrDamaged) {
		return err // waiting does not help: the next start salvages
	}
	if err != nil {
		r.lostTicks++
		r.self.storageLost.Add(float64(len(tick.Samples)))
		r.storing.Fail(r.log, slog.LevelError, "tick not stored", err, "samples", len(tick.Samples))
		return nil
	}
	r.storing.Recover(r.log, "ticks stored again")
	r.inserted += int64(result.Inserted)
	r.self.collected.Add(float64(result.Inserted))
	r.self.duplicate.Add(float64(result.Duplicates))
	r.self.invalid.Add(float64(result.Invalid))
	// A series has one sample a millisecond: a duplicate means that the clock was set back.
	if result.Duplicates > 0 {
		r.refused.Fail(r.log, slog.LevelWarn, "duplicate samples refused", nil,
			logx.KeyCount, result.Duplicates, "tick", tick.Time.UTC())
	} else {
		r.refused.Recover(r.log, "samples no longer refused")
	}
	r.save(ctx, tick)
	return nil
}

// save writes the self-metrics down as often as they are sampled.
func (r *recorder) save(ctx context.Context, tick *schedule.Tick) {
	if !slices.ContainsFunc(tick.Results, func(res schedule.Result) bool { return res.Collector == agentName }) {
		return
	}
	if err := r.self.save(ctx, r.inserter); err != nil {
		r.saving.Fail(r.log, slog.LevelWarn, "self-metrics not saved", err)
		return
	}
	r.saving.Recover(r.log, "self-metrics saved again")
}

// interfacesSettle is how long no interface has come or gone when that is over.
const interfacesSettle = 2 * time.Minute

// report counts and logs how the tick and its collectors did.
func (r *recorder) report(tick *schedule.Tick) {
	r.self.observe(tick)
	r.state.tick(tick)
	if tick.Missed > 0 {
		r.late.Fail(r.log, slog.LevelWarn, "ticks missed", nil, logx.KeyCount, tick.Missed)
	} else {
		r.late.Recover(r.log, "ticks on time again")
	}
	if tick.ClockStep != 0 {
		r.stepped.Fail(r.log, slog.LevelWarn, "wall clock stepped", nil, "step_seconds", tick.ClockStep.Seconds())
	} else {
		r.stepped.Recover(r.log, "wall clock steady again")
	}
	r.renamed.Quiet(r.log, interfacesSettle, "network interfaces settled")
	for i := range tick.Results {
		res := &tick.Results[i]
		if len(res.Came)+len(res.Gone) > 0 {
			r.renamed.Fail(r.log, slog.LevelInfo, "network interfaces changed", nil, "gone", res.Gone, "came", res.Came)
		}
		trouble := r.sources[res.Collector]
		if trouble == nil {
			trouble = logx.NewThrottle(time.Minute, time.Now)
			r.sources[res.Collector] = trouble
		}
		err := res.Err
		if err == nil && len(res.Errors) > 0 {
			err = res.Errors[0]
		}
		if err != nil {
			args := []any{logx.KeyCollector, res.Collector, "failed_sensors", len(res.Errors)}
			if stack := r.self.panicked(err); stack != "" {
				args = append(args, logx.KeyStack, stack)
			}
			trouble.Fail(r.log, slog.LevelWarn, "collector failed", err, args...)
			continue
		}
		trouble.Recover(r.log, "collector works again", logx.KeyCollector, res.Collector)
		if r.log.Enabled(context.Background(), slog.LevelDebug) {
			r.log.Debug("collected", logx.KeyCollector, res.Collector, logx.KeyCount, res.Samples,
				logx.KeyDurationMS, float64(res.Duration.Microseconds())/1000)
		}
	}
}
