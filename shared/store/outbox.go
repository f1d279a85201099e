package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Outbox is shipperd's handle: it reads pending rows, records what it sends and
// marks what was delivered. It cannot insert samples. One Outbox per file and
// process; safe for use by several goroutines.
type Outbox struct {
	o       Options
	db      *sql.DB
	door    *door
	w       *writer
	session Session

	mu        sync.Mutex
	series    map[int64]*SeriesInfo
	maxSeries int64 // greatest id in series; ids are given in ascending order
	deviceIDs []string
}

// SeriesInfo is a series as it stands in the file.
type SeriesInfo struct {
	ID     int64
	Device string
	Name   string
	Tags   []Tag // sorted by name
	Type   ValueType
}

// Row is one pending row of table metrics.
type Row struct {
	Key   Key
	Value float64
	Null  bool // no number: a text, or a row of an older file without a value
}

// outboxConns: the writing connection, one for the delivery loop's reads, one
// for health and pages.
const outboxConns = 3

// OpenOutbox opens the file for shipperd, makes or upgrades it, and begins a
// session.
func OpenOutbox(ctx context.Context, o Options) (*Outbox, error) {
	o = o.withDefaults()
	db, d, err := open(ctx, o, "NORMAL", outboxConns)
	if err != nil {
		return nil, err
	}
	ob := &Outbox{o: o, db: db, door: d, series: map[int64]*SeriesInfo{}}
	if ob.session, err = beginSession(ctx, db, o); err == nil {
		ob.w, err = newWriter(ctx, db)
	}
	if err != nil {
		err = fmt.Errorf("open store %q: %w", o.Path, classify(err))
		return nil, errors.Join(err, RequestSalvage(o.Path, err), db.Close(), d.leave())
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
	rows := make([]Row, 0, min(limit, 1<<16))
	for len(rows) < limit {
		// A page at a time, so that no read transaction lasts long enough to
		// keep a checkpoint from resetting the WAL.
		page := min(limit-len(rows), 10000)
		n, err := ob.pendingPage(ctx, &from, page, &rows, owned)
		if err != nil {
			return nil, fmt.Errorf("read pending rows: %w", classify(err))
		}
		if n < page || from < 0 { // from passed the greatest key there can be
			break
		}
	}
	return rows, nil
}

func (ob *Outbox) pendingPage(ctx context.Context, from *Key, limit int, out *[]Row, owned func(Key) bool) (n int, err error) {
	rows, err := ob.db.QueryContext(ctx, queryPending, int64(*from), limit)
	if err != nil {
		return 0, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	for rows.Next() {
		var key int64
		var value sql.NullFloat64
		if err := rows.Scan(&key, &value); err != nil {
			return n, err
		}
		n++
		*from = Key(key) + 1
		if owned == nil || !owned(Key(key)) {
			*out = append(*out, Row{Key: Key(key), Value: value.Float64, Null: !value.Valid})
		}
	}
	return n, rows.Err()
}

// Rows returns the rows of keys that are in the file, in order. Rows that the
// size budget has dropped in the meantime are absent.
func (ob *Outbox) Rows(ctx context.Context, keys KeySet) ([]Row, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	rows, err := ob.db.QueryContext(ctx, `SELECT m.dedup_key, m.value FROM json_each(?) k
		JOIN metrics m ON m.dedup_key = k.value ORDER BY m.dedup_key`, keys.json())
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", classify(err))
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	out := make([]Row, 0, len(keys))
	for rows.Next() {
		var key int64
		var value sql.NullFloat64
		if err := rows.Scan(&key, &value); err != nil {
			return nil, fmt.Errorf("read rows: %w", classify(err))
		}
		out = append(out, Row{Key: Key(key), Value: value.Float64, Null: !value.Valid})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read rows: %w", classify(err))
	}
	return out, nil
}

// Series returns the series of a key. Series never change and never leave the
// file, so each is read once.
func (ob *Outbox) Series(ctx context.Context, id int64) (*SeriesInfo, error) {
	ob.mu.Lock()
	defer ob.mu.Unlock()
	if s := ob.series[id]; s != nil {
		return s, nil
	}
	if err := ob.loadSeries(ctx); err != nil {
		return nil, err
	}
	if s := ob.series[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("series %d is not in the file: %w", id, ErrDamaged)
}

// loadSeries reads all new series at once: a device makes its series in a few
// ticks.
func (ob *Outbox) loadSeries(ctx context.Context) error {
	rows, err := ob.db.QueryContext(ctx, "SELECT id, device_id, name, tags, value_type FROM series WHERE id > ? ORDER BY id", ob.maxSeries)
	if err != nil {
		return fmt.Errorf("read series: %w", classify(err))
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	for rows.Next() {
		var s SeriesInfo
		var tags string
		if err := rows.Scan(&s.ID, &s.Device, &s.Name, &tags, &s.Type); err != nil {
			return fmt.Errorf("read series: %w", classify(err))
		}
		if s.Tags, err = ParseTags(tags); err != nil {
			return fmt.Errorf("series %d: %w", s.ID, err)
		}
		ob.series[s.ID] = &s
		ob.maxSeries = s.ID
		if !slices.Contains(ob.deviceIDs, s.Device) {
			ob.deviceIDs = append(ob.deviceIDs, s.Device)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read series: %w", classify(err))
	}
	return nil
}

// Close ends the session in order and closes the file.
func (ob *Outbox) Close(ctx context.Context) error {
	return errors.Join(ob.session.end(ctx, ob.db, ob.o), ob.w.close(), ob.db.Close(), ob.door.leave())
}
