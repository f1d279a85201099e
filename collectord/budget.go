package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
)

const (
	// budgetEvery is how often the size of the data is checked.
	budgetEvery = time.Minute
	// budgetPause is between two parts of much work.
	budgetPause = 200 * time.Millisecond
	// budgetQuiet is how long nothing was dropped when that is over: rows go by
	// pages, so there may be several checks between two drops.
	budgetQuiet = 10 * time.Minute
)

// budget keeps the data within storage.max_size_mb while shipperd is not running: a device
// whose shipperd is stopped, or switched off, must not fill its card. While
// shipperd ships it holds the budget lock and does it itself.
type budget struct {
	path        string
	maxBytes    int64
	size        func(ctx context.Context) (int64, error)
	enforce     func(ctx context.Context, maxBytes int64) (store.Freed, error)
	dropped     func(float64)
	log         *slog.Logger
	trouble     *logx.Throttle
	rows        *logx.Throttle // dropped
	deadLetters *logx.Throttle // dropped dead letters
}

func newBudget(c config.StorageConfig, inserter *store.Inserter, dropped func(float64), log *slog.Logger) *budget {
	return &budget{
		path: c.Path, maxBytes: c.MaxDataBytes(), size: inserter.DataSize, enforce: inserter.EnforceBudget, dropped: dropped,
		log: log, trouble: logx.NewThrottle(time.Hour, nil), rows: logx.NewThrottle(0, nil), deadLetters: logx.NewThrottle(0, nil),
	}
}

// run enforces the budget until ctx ends.
func (b *budget) run(ctx context.Context) error {
	tick := time.NewTicker(budgetEvery)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = b.once(ctx); store.ClassOf(err) == store.OfFile {
				return err
			}
			if more { // the lock is free for a moment: a shipperd that starts takes it
				time.Sleep(budgetPause)
			}
		}
		b.rows.Quiet(b.log, budgetQuiet, "no more samples dropped")
		b.deadLetters.Quiet(b.log, budgetQuiet, "no more dead letters deleted")
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			tick.Reset(run.Together(budgetEvery))
		}
	}
}

// once deletes some of what is above the budget; more = there is more to do.
func (b *budget) once(ctx context.Context) (more bool, err error) {
	// Taking the lock writes to the card, so only when there is something to do.
	if size, err := b.size(ctx); err != nil || size <= b.maxBytes {
		if err != nil && ctx.Err() == nil {
			b.trouble.Fail(b.log, slog.LevelWarn, "database size unreadable", err)
		}
		return false, err
	}
	held, err := lock.Acquire(b.path + ".budget.lock")
	if errors.Is(err, lock.ErrHeld) {
		return false, nil // shipperd does it
	}
	if err != nil {
		b.trouble.Fail(b.log, slog.LevelError, "budget lock not acquired", err)
		return false, nil
	}
	defer held.Release() //nolint:errcheck // the next check takes it again and reports
	freed, err := b.enforce(ctx, b.maxBytes)
	if lost := freed.Pending + freed.Unproven; lost > 0 {
		b.dropped(float64(lost))
		b.rows.FailN(b.log, slog.LevelWarn,
			"oldest samples dropped undelivered", nil, lost, "remedy", "start shipperd or raise storage.max_size_mb")
	}
	if freed.DeadLetters > 0 {
		b.deadLetters.FailN(b.log, slog.LevelWarn, "dead letters deleted to free space", nil, int(freed.DeadLetters))
	}
	switch {
	case err == nil:
		b.trouble.Recover(b.log, "database within its budget again")
	case ctx.Err() == nil:
		b.trouble.Fail(b.log, slog.LevelWarn, "database over its budget", err)
	}
	return err == nil && freed.More, err
}
