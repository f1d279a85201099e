package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/human"
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
	keep     time.Duration             // how long before the present samples with a timestamp are taken; 0 = no limit
	storing  *logx.Throttle            // ticks
	dating   *logx.Throttle            // samples with a timestamp
	saving   *logx.Throttle            // self-metrics
	refused  *logx.Throttle            // samples, by the file
	late     *logx.Throttle            // ticks
	stepped  *logx.Throttle            // the wall clock
	renamed  *logx.Throttle            // network interfaces
	sources  map[string]*logx.Throttle // by collector

	ticks, inserted int64 // of this run, for its last line
}

func newRecorder(inserter *store.Inserter, self *selfMetrics, state *vitals, log *slog.Logger, beat func()) *recorder {
	throttle := func() *logx.Throttle { return logx.NewThrottle(time.Minute, nil) }
	return &recorder{
		inserter: inserter, self: self, state: state, beat: beat,
		log:     log.With(logx.KeySessionID, inserter.Session().UUID),
		storing: throttle(), dating: throttle(), saving: throttle(), refused: throttle(), late: throttle(), stepped: throttle(), renamed: throttle(),
		sources: map[string]*logx.Throttle{},
	}
}

// record stores one tick in one transaction. Crash window: until Insert returns
// the tick is lost as a whole, after it a kill loses nothing of it.
func (r *recorder) record(ctx context.Context, tick *schedule.Tick) error {
	r.report(tick)
	for i := range tick.Results { // one of the collectors reads the file
		for _, err := range append(tick.Results[i].Errors, tick.Results[i].Err) {
			if store.ClassOf(err) == store.OfFile {
				return err
			}
		}
	}
	if r.wal != nil {
		r.wal.EnsureHeadroom(ctx)
	}
	result, err := r.inserter.Record(ctx, tick.Moment, tick.Time, tick.Samples)
	if ctx.Err() != nil {
		return nil
	}
	r.ticks++
	r.state.stored(tick.Time, err)
	if errors.Is(err, store.ErrFull) && r.wal != nil {
		r.wal.DiskFull()
	}
	if err = r.inserter.Met(err); store.ClassOf(err) == store.OfFile {
		return err // waiting does not help
	}
	r.beat() // stored, or waiting for what a message names
	if err != nil {
		r.self.storageLost.Add(float64(len(tick.Samples)))
		r.storing.Fail(r.log, slog.LevelError, "tick not stored", err, "samples", len(tick.Samples))
		return nil
	}
	r.storing.Recover(r.log, "ticks stored again")
	r.inserted += int64(result.Inserted)
	r.self.collected.Add(float64(result.Inserted))
	r.self.duplicate.Add(float64(result.Duplicates))
	r.self.invalid.Add(float64(result.Invalid))
	r.state.ended(result.Ended)
	// A series has one sample a tick: a duplicate is a mistake of a collector, or of a textfile
	// with a series of node_exporter's.
	if result.Duplicates > 0 {
		r.refused.Fail(r.log, slog.LevelWarn, "duplicate samples refused", nil,
			logx.KeyCount, result.Duplicates, "tick", tick.Time.UTC(), "series", firstTwice(tick.Samples))
	} else {
		r.refused.Recover(r.log, "samples no longer refused")
	}
	if err := r.recordDated(ctx, tick); err != nil {
		return err
	}
	return r.save(ctx, tick)
}

// firstTwice returns the name and labels of the first series with a second sample, "" if there is
// none.
func firstTwice(samples []store.Sample) string {
	seen := make(map[string]bool, len(samples))
	for i := range samples {
		name := samples[i].Series.Name + samples[i].Series.Tags
		if seen[name] {
			return human.Excerpt(name)
		}
		seen[name] = true
	}
	return ""
}

// recordDated stores the samples that have a time of their own. What the file does not take now
// comes with the next tick again.
func (r *recorder) recordDated(ctx context.Context, tick *schedule.Tick) error {
	if len(tick.Dated) == 0 {
		return nil
	}
	inserted, err := r.inserter.InsertDated(ctx, tick.Moment, r.keep, tick.Dated)
	if ctx.Err() != nil {
		return nil
	}
	r.inserted += int64(inserted)
	r.self.collected.Add(float64(inserted))
	if err = r.inserter.Met(err); store.ClassOf(err) == store.OfFile {
		return err
	}
	if err != nil {
		r.dating.Fail(r.log, slog.LevelError, "samples with a timestamp not stored", err)
	} else {
		r.dating.Recover(r.log, "samples with a timestamp stored again")
	}
	return nil
}

// save writes the self-metrics down as often as they are sampled.
func (r *recorder) save(ctx context.Context, tick *schedule.Tick) error {
	if !slices.ContainsFunc(tick.Results, func(res schedule.Result) bool { return res.Collector == agentName }) {
		return nil
	}
	err := r.self.save(ctx, r.inserter)
	switch {
	case store.ClassOf(err) == store.OfFile:
		return err
	case err != nil:
		r.saving.Fail(r.log, slog.LevelWarn, "self-metrics not saved", err)
	default:
		r.saving.Recover(r.log, "self-metrics saved again")
	}
	return nil
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
