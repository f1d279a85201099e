// Package wal keeps the write-ahead log of the database short: a checkpoint each
// interval, at a size, and at the end. It promises that one daemon at a time
// checkpoints, the one that holds the checkpoint lock: collectord while it runs,
// shipperd only while collectord is not running.
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

// Config sets when to checkpoint.
type Config struct {
	Path     string        // of the database
	Interval time.Duration // longest time between two checkpoints
	Size     int64         // bytes; the WAL stays below, see triggerPart
	// Owner is true for the daemon that holds the lock as long as it runs, false
	// for the one that steps in.
	Owner bool
}

// Checkpointer is the task that checkpoints.
type Checkpointer struct {
	cfg          Config
	checkpoint   func(context.Context) (store.CheckpointResult, error)
	log          *slog.Logger
	trouble      *logx.Throttle
	held         *lock.Lock
	last         time.Time
	kick         chan struct{} // somebody waits for headroom
	headroomWait time.Duration // how long EnsureHeadroom waits
	full         atomic.Bool   // because the disk is full
	// Done is called after each complete checkpoint; nil = nothing is.
	Done func(store.CheckpointResult)
}

// New returns a Checkpointer; checkpoint is a store handle's method.
func New(cfg Config, checkpoint func(context.Context) (store.CheckpointResult, error), log *slog.Logger) *Checkpointer {
	return &Checkpointer{
		cfg: cfg, checkpoint: checkpoint, log: log, last: time.Now(),
		trouble: logx.NewThrottle(time.Minute, time.Now), kick: make(chan struct{}, 1), headroomWait: headroomWait,
	}
}

// How often the size is looked at: by the daemon that checkpoints, and by the one that
// steps in, which EnsureHeadroom wakes too.
const (
	look        = 5 * time.Second
	lookStandIn = 20 * time.Second
)

// Of Size, in eighths: from the first on the WAL is checkpointed; from the second on
// inserts wait for that, because what they add meanwhile has to fit, too.
const (
	triggerPart = 6
	waitPart    = 7
)

// headroomWait is how long a write waits: a tick that comes late is better than none,
// and a WAL that is too large better than a tick lost. It is longer than look, for
// the one that writes may have to wait for the other's look.
const headroomWait = 6 * time.Second

func (c *Checkpointer) above(eighths int64) bool {
	return store.WALSize(c.cfg.Path) > c.cfg.Size/8*eighths
}

// DiskFull requests a checkpoint at once, after an insert that found the disk full. The checkpoint
// frees the space of the WAL, as far as the database has free pages for its content.
func (c *Checkpointer) DiskFull() {
	c.full.Store(true)
	select {
	case c.kick <- struct{}{}:
	default: // it is asked already
	}
}

// EnsureHeadroom waits until the WAL has room for an insert, or for whatever else adds a
// few MB; callers call it before each. It returns at once, unless writes come so fast that
// the WAL would outgrow Size before the next checkpoint, and after six seconds at most.
func (c *Checkpointer) EnsureHeadroom(ctx context.Context) {
	if !c.above(waitPart) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.headroomWait)
	defer cancel()
	for c.above(waitPart) {
		select {
		case c.kick <- struct{}{}:
		default: // it is asked already
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
func (c *Checkpointer) Run(ctx context.Context) error {
	every := lookStandIn
	if c.cfg.Owner {
		every = look
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if c.cfg.Owner && c.held == nil {
			c.take() // before the first checkpoint is due, so that shipperd knows
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.kick:
		case <-tick.C:
			tick.Reset(run.Together(every))
		}
		if c.full.Swap(false) || c.above(triggerPart) || time.Since(c.last) >= c.cfg.Interval {
			if err := c.once(ctx, false); store.ClassOf(err) == store.OfFile {
				return err
			}
		}
	}
}

// Final leaves the file without a WAL, for whoever copies it, and gives the lock
// back.
func (c *Checkpointer) Final(ctx context.Context) {
	ctx, cancel := run.Final(ctx)
	defer cancel()
	_ = c.once(ctx, true) // it logs what it cannot do
	if c.held != nil {
		_ = c.held.Release() // the process ends; so does the lock
	}
}

func (c *Checkpointer) take() bool {
	held, err := lock.Acquire(c.cfg.Path + ".checkpoint.lock")
	if err != nil {
		if !errors.Is(err, lock.ErrHeld) {
			c.trouble.Fail(c.log, slog.LevelError, "checkpoint lock not taken", err)
		}
		return false
	}
	c.held = held
	return true
}

// once checkpoints if the lock is ours or free.
func (c *Checkpointer) once(ctx context.Context, final bool) error {
	if c.held == nil && !c.take() {
		return nil // the other daemon does it
	}
	r, err := c.checkpoint(ctx)
	if !c.cfg.Owner {
		_ = c.held.Release() // collectord may be starting
		c.held = nil
	}
	if err != nil {
		c.trouble.Fail(c.log, slog.LevelError, "WAL checkpoint failed", err)
		return err
	}
	c.last = time.Now()
	if !r.Complete {
		c.trouble.Fail(c.log, slog.LevelWarn, "WAL checkpoint incomplete",
			errors.New("a reader uses the rest; the next checkpoint copies it"), "wal_bytes", r.WALAfter)
		return nil
	}
	c.trouble.Recover(c.log, "WAL checkpoint works again")
	c.log.Info("WAL checkpointed", "wal_bytes_before", r.WALBefore, "wal_bytes_after", r.WALAfter,
		logx.KeyDurationMS, r.Duration.Milliseconds(), "final", final)
	if c.Done != nil {
		c.Done(r)
	}
	return nil
}
