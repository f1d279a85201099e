package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"
)

// CheckpointResult says what a WAL checkpoint did.
type CheckpointResult struct {
	Duration  time.Duration
	WALBefore int64 // bytes
	WALAfter  int64 // bytes
	// Complete is false when a reader kept part of the WAL in use; the next
	// checkpoint takes the rest.
	Complete bool
}

const (
	// truncateWait is how long the pass that shortens the WAL may wait for
	// readers and writers. It holds the write lock while it waits for readers, so
	// this limits how long a tick can be delayed.
	truncateWait = 50 * time.Millisecond
	// truncateTries, with a pause between, find a moment without a reader or writer,
	// among transactions of a few milliseconds.
	truncateTries = 10
	truncatePause = 20 * time.Millisecond
)

// checkpoint runs beside the writing connection. The first pass does the bulk of the copying and
// blocks no one; a slow card may take seconds for it. The second holds the write lock: it copies
// what was committed meanwhile, and waits briefly for readers. A reader that stays costs space in
// the WAL, never a tick.
func checkpoint(ctx context.Context, db *sql.DB, path string) (r CheckpointResult, err error) {
	r.WALBefore = WALSize(path)
	conn, err := db.Conn(ctx)
	if err != nil {
		return r, fmt.Errorf("checkpoint: %w", classify(err))
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	start := time.Now()
	if _, err := runCheckpoint(ctx, conn, "PASSIVE"); err != nil {
		return r, err
	}
	err = withBusyTimeout(ctx, conn, truncateWait, func() (err error) {
		for try := 0; try < truncateTries && !r.Complete && err == nil; try++ {
			if try > 0 {
				time.Sleep(truncatePause)
			}
			r.Complete, err = runCheckpoint(ctx, conn, "TRUNCATE")
		}
		return err
	})
	if err != nil {
		return r, err
	}
	r.Duration = time.Since(start)
	r.WALAfter = WALSize(path)
	return r, nil
}

func runCheckpoint(ctx context.Context, conn *sql.Conn, mode string) (complete bool, err error) {
	var busy, logged, copied int
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &logged, &copied)
	if err = classify(err); errors.Is(err, ErrBusy) {
		return false, nil // the other daemon writes just now; there is a next time
	}
	if err != nil {
		return false, fmt.Errorf("checkpoint: %w", err)
	}
	return busy == 0, nil
}

// withBusyTimeout runs f with another busy timeout of the connection, and puts the
// old one back before the connection returns to the pool.
func withBusyTimeout(ctx context.Context, conn *sql.Conn, d time.Duration, f func() error) error {
	var before int64
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&before); err != nil {
		return fmt.Errorf("checkpoint: %w", classify(err))
	}
	set := func(ctx context.Context, ms int64) error {
		_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", ms))
		return classify(err)
	}
	if err := set(ctx, d.Milliseconds()); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return errors.Join(f(), set(context.WithoutCancel(ctx), before))
}

// WALSize returns the size of the WAL of the database at path in bytes; 0 when
// there is none.
func WALSize(path string) int64 { return fileSize(path + "-wal") }

// FileSize returns the size of the database file at path in bytes, without its WAL.
func FileSize(path string) int64 { return fileSize(path) }

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0 // no file, no bytes; who cannot read it learns that when opening it
	}
	return info.Size()
}
