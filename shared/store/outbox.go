package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Outbox is shipperd's handle: it reads pending rows, records what it sends and
// marks what was delivered. It cannot insert samples. One Outbox per file and
// process; safe for use by several goroutines.
type Outbox struct {
	reader
	o       Options
	lock    *openLock
	w       *writer
	session Session
}

// outboxConns: the writing connection, one for the delivery loop's reads, one
// for health and pages.
const outboxConns = 3

// OpenOutbox opens the file for shipperd, makes or upgrades it, and begins a
// session.
func OpenOutbox(ctx context.Context, o Options) (*Outbox, error) {
	o = o.withDefaults()
	db, l, err := open(ctx, o, "NORMAL", outboxConns)
	if err != nil {
		return nil, err
	}
	ob := &Outbox{reader: Reader{file: file{o.Path, db}}, o: o, lock: l}
	if ob.session, err = beginSession(ctx, db, o); err == nil {
		ob.w, err = newWriter(ctx, db)
	}
	if err != nil {
		err = fmt.Errorf("open store %q: %w", o.Path, classify(err))
		return nil, errors.Join(err, RequestSalvage(o.Path, err), db.Close(), l.release())
	}
	return ob, nil
}

// Session returns the run that this handle began.
func (ob *Outbox) Session() Session { return ob.session }

// queryPending is the hot path: a range scan of the one b-tree, from the mark
// below which every row is done. A test asserts its plan.
const queryPending = `SELECT dedup_key, value FROM metrics
	WHERE dedup_key >= max(?, (SELECT low_water FROM outbox)) AND uploaded = 0 ORDER BY dedup_key LIMIT ?`

// Pending returns up to limit rows with uploaded = 0, oldest first, from key
// from on. Rows in owned belong to a chunk that is under way and are left out.
// The rows of a tick appear together, because a tick is one transaction.
func (ob *Outbox) Pending(ctx context.Context, from Key, limit int, owned func(Key) bool) ([]Row, error) {
	pending := make([]Row, 0, min(limit, 1<<16))
	for len(pending) < limit {
		// A page at a time, so that no read transaction lasts long enough to
		// keep a checkpoint from resetting the WAL.
		page, n := min(limit-len(pending), 10000), 0
		err := each(ctx, ob.db, func(rows *sql.Rows) error {
			row, err := scanRow(rows)
			n, from = n+1, row.Key+1
			if owned == nil || !owned(row.Key) {
				pending = append(pending, row)
			}
			return err
		}, queryPending, int64(from), page)
		if err != nil {
			return nil, fmt.Errorf("read pending rows: %w", err)
		}
		if n < page || from < 0 { // from passed the greatest key there can be
			break
		}
	}
	return pending, nil
}

// Close ends the session in order and closes the file.
func (ob *Outbox) Close(ctx context.Context) error {
	return errors.Join(ob.session.end(ctx, ob.db, ob.o), ob.w.close(), ob.db.Close(), ob.lock.release())
}
