package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
)

// Outbox is shipperd's handle: it reads pending rows, records what it sends and
// marks what was delivered. It cannot insert samples. One Outbox per file and
// process; safe for use by several goroutines.
type Outbox struct {
	handle
	reader
	traffic trafficBook
}

// outboxConns: the writing connection, one for the delivery loop's reads, one
// for health and pages.
const outboxConns = 3

// OpenOutbox opens the file for shipperd, makes or upgrades it, and begins a
// session.
func OpenOutbox(ctx context.Context, o Options) (*Outbox, error) {
	h, err := openHandle(ctx, o, outboxConns)
	if err != nil {
		return nil, err
	}
	return &Outbox{handle: h, reader: Reader{file: file{h.o.Path, h.pool}}}, nil
}

// queryPending is the hot path: a range scan of the one b-tree, from the mark
// below which every row is done. A test asserts its plan.
const queryPending = `SELECT dedup_key, value FROM metrics
	WHERE dedup_key >= max(?, (SELECT low_water FROM outbox)) AND uploaded = 0 ORDER BY dedup_key LIMIT ?`

// Pending returns up to limit rows with uploaded = 0, oldest first, from key
// from on. Rows in owned belong to a chunk that is under way and are left out.
// The rows of a tick appear together, because a tick is one transaction.
func (ob *Outbox) Pending(ctx context.Context, from Key, limit int, owned func(Key) bool) ([]Row, error) {
	var pending []Row
	for len(pending) < limit {
		// A page at a time, so that no read transaction lasts long enough to
		// keep a checkpoint from resetting the WAL.
		page, n := min(limit-len(pending), 10000), 0
		err := eachOfMany(ctx, ob.db, func(values []driver.Value) error {
			row, err := readRow(values)
			if err == nil && row.Key < from {
				err = fmt.Errorf("%w: row %d is behind row %d", ErrDamaged, row.Key, from-1)
			}
			n, from = n+1, row.Key+1
			if owned == nil || !owned(row.Key) {
				pending = append(pending, row)
			}
			return err
		}, queryPending, int64(from), int64(page))
		if err != nil {
			return nil, fmt.Errorf("read pending rows: %w", err)
		}
		if n < page || from < 0 { // from passed the greatest key there can be
			break
		}
		pending = slices.Grow(pending, min(limit-len(pending), 1<<17)) // there is a backlog
	}
	return pending, nil
}

// Close ends the session in order and closes the file.
func (ob *Outbox) Close(ctx context.Context) error {
	var err error
	if !ob.left {
		err = ob.session.end(ctx, ob.pool, ob.o)
	}
	return errors.Join(err, ob.handle.close())
}
