package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"sync"
	"time"
)

// writer is the one connection through which a handle writes, so that prepared
// statements and the synchronous setting hold. Transactions are IMMEDIATE and wait
// for the other daemon's.
type writer struct {
	mu       sync.Mutex // held for a whole transaction
	conn     *sql.Conn
	full     bool      // synchronous of conn is FULL now; NORMAL otherwise
	lastSync time.Time // monotonic; when a synced commit last ended, zero before the first
	// also adds to each transaction; done is called when that is committed. nil = nothing.
	also func(ctx context.Context, tx execer) (done func(), err error)
}

func newWriter(ctx context.Context, db *sql.DB) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &writer{conn: conn}, nil
}

// What a power cut may take back, for writer.tx.
const (
	nothing  time.Duration = 0             // the commit is on the disk when tx returns
	unsynced time.Duration = math.MaxInt64 // until someone's next synced commit
)

// tx runs fn in one transaction. loses is what a power cut may take back: the
// commit is synced when this handle's last synced commit is that old. So is its
// first: before it may stand what a killed process has not synced, and that may be
// as old as loses already. A synced commit takes all earlier ones of both daemons
// along, because they stand before it in the same WAL. A killed process loses
// nothing in either case.
//
// fn must return the first error: SQLite ends the transaction by itself after some, such as that of
// a full disk, and each further statement would be committed on its own.
//
// A begun transaction is not cancelled by ctx: it takes milliseconds, and the
// driver would start a goroutine for each statement to watch ctx. A sql.Tx would start
// one for itself and one for each query.
func (w *writer) tx(ctx context.Context, loses time.Duration, fn func(ctx context.Context, tx execer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.setFull(ctx, time.Since(w.lastSync) >= loses); err != nil {
		return classify(err)
	}
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return classify(err)
	}
	committed := false
	defer func() {
		if !committed { // also after a panic, and a COMMIT that a full disk or a busy file refuses
			_, _ = w.conn.ExecContext(ctx, "ROLLBACK") // SQLite may have done it already
		}
	}()
	done := func() {}
	err := fn(ctx, w.conn)
	if err == nil && w.also != nil {
		done, err = w.also(ctx, w.conn)
	}
	if err == nil {
		_, err = w.conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		return classify(err)
	}
	committed = true
	if w.full {
		w.lastSync = time.Now()
	}
	done()
	return nil
}

const queryVersion = "PRAGMA data_version"

// version returns another number than before if another connection, of whatever process, has
// committed since. Call it in a transaction: then that is certain until its end.
// https://sqlite.org/pragma.html#pragma_data_version
func (w *writer) version(ctx context.Context) (n int64, err error) {
	err = eachRaw(ctx, w.conn, func(row []driver.Value) (err error) {
		n, err = column[int64](row[0])
		return err
	}, queryVersion)
	return n, err
}

// setFull changes synchronous outside a transaction: inside one SQLite ignores it.
func (w *writer) setFull(ctx context.Context, full bool) error {
	if full == w.full {
		return nil
	}
	mode := "NORMAL"
	if full {
		mode = "FULL"
	}
	if _, err := w.conn.ExecContext(ctx, "PRAGMA synchronous = "+mode); err != nil {
		return err
	}
	w.full = full
	return nil
}

// close waits for a transaction: the pool must not get a connection in the middle of one.
func (w *writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn.Close()
}
