// Package wal keeps the write-ahead log of the database short: a checkpoint each
// interval, at a size, and at the end. It promises that one daemon at a time
// checkpoints, the one that holds the checkpoint lock: collectord while it runs,
// shipperd only while collectord is away.
package wal

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
)

// Config says when to checkpoint.
type Config struct {
	Path     string        // of the database
	Interval time.Duration // longest time between two checkpoints
	Size     int64         // bytes; a larger WAL is checkpointed at once
	// Owner is true for the daemon that holds the lock as long as it runs, false
	// for the one that steps in.
	Owner bool
}

// Keeper is the task that checkpoints.
type Keeper struct {
	cfg        Config
	checkpoint func(context.Context) (store.CheckpointResult, error)
	log        *slog.Logger
	trouble    *logx.Throttle
	held       *lock.Lock
	last       time.Time
	// Done is told each checkpoint; nil = nobody.
	Done func(store.CheckpointResult)
}

// New returns a keeper; checkpoint is a store handle's method.
func New(cfg Config, checkpoint func(context.Context) (store.CheckpointResult, error), log *slog.Logger) *Keeper {
	return &Keeper{
		cfg: cfg, checkpoint: checkpoint, log: log, last: time.Now(),
		trouble: logx.NewThrottle(time.Minute, time.Now),
	}
}

// look is how often the size is looked at.
const look = 5 * time.Second

// Run checkpoints until ctx ends. The owner calls Final after that, when the
// last insert is done.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if k.cfg.Owner && k.held == nil {
			k.take() // before the first checkpoint is due, so that shipperd knows
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if store.WALSize(k.cfg.Path) > k.cfg.Size || time.Since(k.last) >= k.cfg.Interval {
				k.once(ctx, false)
			}
		}
	}
}

// Final leaves the file without a WAL, for whoever copies it, and gives the lock
// back.
func (k *Keeper) Final(ctx context.Context) {
	ctx, cancel := run.Final(ctx)
	defer cancel()
	k.once(ctx, true)
	if k.held != nil {
		_ = k.held.Release() // the process ends; so does the lock
	}
}

func (k *Keeper) take() bool {
	held, err := lock.Acquire(k.cfg.Path + ".checkpoint.lock")
	if err != nil {
		if !errors.Is(err, lock.ErrHeld) {
			k.trouble.Fail(k.log, slog.LevelError, "checkpoint lock cannot be taken", err)
		}
		return false
	}
	k.held = held
	return true
}

// once checkpoints if the lock is ours or free.
func (k *Keeper) once(ctx context.Context, final bool) {
	if k.held == nil && !k.take() {
		return // the other daemon does it
	}
	r, err := k.checkpoint(ctx)
	if !k.cfg.Owner {
		_ = k.held.Release() // collectord may be starting
		k.held = nil
	}
	if err != nil {
		k.trouble.Fail(k.log, slog.LevelError, "WAL checkpoint failed", err)
		return
	}
	k.last = time.Now()
	if !r.Complete {
		k.trouble.Fail(k.log, slog.LevelWarn, "WAL checkpoint is incomplete, the rest follows",
			errors.New("a reader is in the way"), "wal_bytes", r.WALAfter)
		return
	}
	k.trouble.Recover(k.log, "WAL checkpoint works again")
	k.log.Info("WAL checkpointed", "wal_bytes_before", r.WALBefore, "wal_bytes_after", r.WALAfter,
		logx.KeyDurationMS, r.Duration.Milliseconds(), "final", final)
	if k.Done != nil {
		k.Done(r)
	}
}
