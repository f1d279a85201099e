// Package wal keeps the write-ahead log of the database short: a checkpoint each
// interval, at a size, and at the end. It promises that one daemon at a time
// checkpoints, the one that holds the checkpoint lock: collectord while it runs,
// shipperd only while collectord is away.
package wal

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
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
	Size     int64         // bytes; the WAL stays below, see triggerPart
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
	kick       chan struct{} // somebody waits for room
	full       atomic.Bool   // because the disk is full
	// Done is told each checkpoint; nil = nobody.
	Done func(store.CheckpointResult)
}

// New returns a keeper; checkpoint is a store handle's method.
func New(cfg Config, checkpoint func(context.Context) (store.CheckpointResult, error), log *slog.Logger) *Keeper {
	return &Keeper{
		cfg: cfg, checkpoint: checkpoint, log: log, last: time.Now(),
		trouble: logx.NewThrottle(time.Minute, time.Now), kick: make(chan struct{}, 1),
	}
}

// How often the size is looked at: by the daemon that checkpoints, and by the one that
// steps in, to which it is also brought by Room.
const (
	look        = 5 * time.Second
	lookStandIn = 15 * time.Second
)

// Of Size, in eighths: from the first on the WAL is checkpointed; from the second on
// inserts wait for that, because what they add meanwhile has to fit, too.
const (
	triggerPart = 6
	waitPart    = 7
)

// patience is how long a write waits: a tick that comes late is better than none,
// and a WAL that is too large better than a tick lost. It is longer than look, for
// the one that writes may have to wait for the other's look.
const patience = 6 * time.Second

func (k *Keeper) above(eighths int64) bool { return store.WALSize(k.cfg.Path) > k.cfg.Size/8*eighths }

// DiskFull is to be called when an insert found no room on the disk: a checkpoint at
// once gives the WAL's back, as far as the database has free pages for it.
func (k *Keeper) DiskFull() {
	k.full.Store(true)
	select {
	case k.kick <- struct{}{}:
	default: // it knows
	}
}

// Room is to be called before each insert, and before whatever else adds a few MB: it
// returns at once, unless writes come so fast that the WAL would outgrow Size before
// the next checkpoint.
func (k *Keeper) Room(ctx context.Context) {
	if !k.above(waitPart) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for k.above(waitPart) {
		select {
		case k.kick <- struct{}{}:
		default: // it knows
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Run checkpoints until ctx ends. The owner calls Final after that, when the
// last insert is done.
func (k *Keeper) Run(ctx context.Context) error {
	every := lookStandIn
	if k.cfg.Owner {
		every = look
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if k.cfg.Owner && k.held == nil {
			k.take() // before the first checkpoint is due, so that shipperd knows
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.kick:
		case <-tick.C:
		}
		if k.full.Swap(false) || k.above(triggerPart) || time.Since(k.last) >= k.cfg.Interval {
			k.once(ctx, false)
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
