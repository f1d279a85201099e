package main

import (
	"context"
	"errors"
	"log/slog"
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
	own      *own
	state    *vitals
	log      *slog.Logger
	beat     func()
	keeper   *wal.Keeper // makes room in the WAL; nil = nobody does
	storing  *logx.Throttle
	refused  *logx.Throttle            // samples, by the file
	late     *logx.Throttle            // ticks
	jumped   *logx.Throttle            // the wall clock
	links    *logx.Throttle            // interfaces
	sources  map[string]*logx.Throttle // by collector

	ticks, inserted, lostTicks int64 // of this run, for its last line
}

func newRecorder(inserter *store.Inserter, numbers *own, state *vitals, log *slog.Logger, beat func()) *recorder {
	return &recorder{
		inserter: inserter, own: numbers, state: state, beat: beat,
		log:     log.With(logx.KeySessionID, inserter.Session().UUID),
		storing: logx.NewThrottle(time.Minute, time.Now),
		refused: logx.NewThrottle(time.Minute, time.Now),
		late:    logx.NewThrottle(time.Minute, time.Now),
		jumped:  logx.NewThrottle(time.Minute, time.Now),
		links:   logx.NewThrottle(time.Minute, time.Now),
		sources: map[string]*logx.Throttle{},
	}
}

// record stores one tick in one transaction. Crash window: until Insert returns
// the tick is lost as a whole, after it a kill loses nothing of it.
func (r *recorder) record(ctx context.Context, tick *schedule.Tick) error {
	r.beat()
	r.report(tick)
	if r.keeper != nil {
		r.keeper.Room(ctx)
	}
	result, err := r.inserter.Insert(ctx, tick.Time, tick.Samples)
	if ctx.Err() != nil {
		return nil
	}
	r.ticks++
	r.state.stored(tick.Time, err)
	if errors.Is(err, store.ErrFull) && r.keeper != nil {
		r.keeper.DiskFull()
	}
	if errors.Is(err, store.ErrDamaged) {
		return err // no matter of waiting: the next start salvages
	}
	if err != nil {
		r.lostTicks++
		r.own.storageLost.Add(float64(len(tick.Samples)))
		r.storing.Fail(r.log, slog.LevelError, "tick could not be stored", err, "samples", len(tick.Samples))
		return nil
	}
	r.storing.Recover(r.log, "ticks are stored again")
	r.inserted += int64(result.Inserted)
	r.own.collected.Add(float64(result.Inserted))
	r.own.duplicate.Add(float64(result.Duplicates))
	r.own.invalid.Add(float64(result.Invalid))
	if result.Duplicates > 0 {
		r.refused.Fail(r.log, slog.LevelWarn, "samples refused: their series has one at that millisecond; was the clock set back?", nil,
			logx.KeyCount, result.Duplicates, "tick", tick.Time.UTC())
	} else {
		r.refused.Recover(r.log, "no sample is refused any more")
	}
	return nil
}

// linksSettle is how long no interface has come or gone when that is over.
const linksSettle = 2 * time.Minute

// report logs what the tick tells about itself and its sources.
func (r *recorder) report(tick *schedule.Tick) {
	r.own.collect(tick)
	r.state.tick(tick)
	if tick.Missed > 0 {
		r.late.Fail(r.log, slog.LevelWarn, "ticks missed: the process was held up", nil, logx.KeyCount, tick.Missed)
	} else {
		r.late.Recover(r.log, "ticks run in time again")
	}
	if tick.ClockStep != 0 {
		r.jumped.Fail(r.log, slog.LevelWarn, "wall clock jumped", nil, "jump_seconds", tick.ClockStep.Seconds())
	} else {
		r.jumped.Recover(r.log, "wall clock runs evenly")
	}
	r.links.Quiet(r.log, linksSettle, "network interfaces have settled")
	for i := range tick.Results {
		res := &tick.Results[i]
		if len(res.Came)+len(res.Gone) > 0 {
			r.links.Fail(r.log, slog.LevelInfo, "network interfaces changed: series end or begin", nil, "gone", res.Gone, "came", res.Came)
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
			if stack := r.own.panicked(err); stack != "" {
				args = append(args, logx.KeyStack, stack)
			}
			trouble.Fail(r.log, slog.LevelWarn, "source failed", err, args...)
			continue
		}
		trouble.Recover(r.log, "source works again", logx.KeyCollector, res.Collector)
		if r.log.Enabled(context.Background(), slog.LevelDebug) {
			r.log.Debug("collected", logx.KeyCollector, res.Collector, logx.KeyCount, res.Samples,
				logx.KeyDurationMS, float64(res.Duration.Microseconds())/1000)
		}
	}
}
