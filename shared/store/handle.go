package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// handle is what the handles of both daemons have in common: a run, its writing connection, and
// the lock on the open files.
type handle struct {
	o       Options
	pool    *sql.DB
	lock    *openLock
	session Session
	w       *writer
	patience
	left bool // with damage: nothing is written any more
}

// openHandle opens the file for a daemon, and begins a session.
func openHandle(ctx context.Context, o Options, conns int) (h handle, err error) {
	h.o = o.withDefaults()
	if h.pool, h.lock, err = open(ctx, h.o, "NORMAL", conns); err != nil {
		return h, err
	}
	if h.session, err = beginSession(ctx, h.pool, h.o); err == nil {
		h.w, err = newWriter(ctx, h.pool)
	}
	if err != nil {
		return h, h.unopened(err)
	}
	return h, nil
}

// unopened closes a file of which the opening failed.
func (h *handle) unopened(err error) error {
	err = fmt.Errorf("open store %q: %w", h.o.Path, classify(err))
	return errors.Join(err, RequestSalvage(h.o.Path, err), h.close())
}

// Session returns the run that this handle began.
func (h *handle) Session() Session { return h.session }

// Watch looks at the files of the database and at the locks until ctx ends, or until something was
// done to them: its error wraps ErrReplaced, ErrSalvage or lock.ErrLost, and the process should
// stop and open the database anew.
func (h *handle) Watch(ctx context.Context) error { return h.lock.watch(ctx, h.o.watchEvery) }

// Checkpoint copies the WAL into the database and truncates it to nothing. shipperd does it only
// while collectord is not running. See https://sqlite.org/pragma.html#pragma_wal_checkpoint
func (h *handle) Checkpoint(ctx context.Context) (CheckpointResult, error) {
	if h.left {
		return CheckpointResult{Complete: true}, nil
	}
	return checkpoint(ctx, h.pool, h.o.Path)
}

// SaveStats writes the daemon's self-metrics down, for collectord to sample and for the next run to
// go on from. Not synced: a power cut may take back what was counted since the last sync. Of stats
// Daemon and Updated are set here.
func (h *handle) SaveStats(ctx context.Context, stats []Stat) error {
	if h.left {
		return nil
	}
	return saveStats(ctx, h.w, h.o, stats)
}

// Leave is called with the error that ended a run, before anything is closed. What is damaged is
// noted for the other daemon, and not touched any more: not even by the checkpoint that SQLite
// makes when the last one closes the file, which would copy what is left of a WAL.
func (h *handle) Leave(err error) error {
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrSalvage) {
		h.left = true
	}
	return requestSalvage(h.o.Path, err, errors.Is(err, errWALCut) || h.lock.walCut())
}

// close closes the file and gives the open lock back.
func (h *handle) close() (err error) {
	if h.left {
		var release func()
		release, err = keepFromCheckpoint(h.o.Path)
		defer release()
	}
	if h.w != nil {
		err = errors.Join(err, h.w.close())
	}
	return errors.Join(err, h.pool.Close(), h.lock.release())
}
