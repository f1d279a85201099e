package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Inserter is collectord's handle: it inserts samples, and deletes them only in EnforceBudget. One
// Inserter per file and process.
type Inserter struct {
	file
	o          Options
	lock       *openLock
	session    Session
	durability time.Duration
	ended      bool
	through    Key // up to where inserted rows are booked, see ledger.go
	booked     time.Time
	record     int64     // the newest chunk record that the last tick saw
	ticked     time.Time // when the last tick was committed; zero before

	// Used inside the writer's transaction only.
	w     *writer
	stmts insertStatements
	args  []any     // reused
	rows  []keyed   // reused
	fresh []*Series // got their id in the open transaction
}

// mostRows is how many rows one INSERT statement takes at most. A statement costs
// more than a row: 64 rows at once halve the CPU time of a tick.
const mostRows = 64

// groupRows are the statements that there are, by their rows.
var groupRows = [...]int{mostRows, 16, 4, 1}

type insertStatements struct {
	groups                                [len(groupRows)]*sql.Stmt
	text, findSeries, addSeries, lowWater *sql.Stmt
	newest                                *sql.Stmt

	all []*sql.Stmt
}

// InsertResult says what became of the samples of one Insert.
type InsertResult struct {
	Inserted   int // rows that are new in the file
	Duplicates int // refused: that series has a row at that millisecond
	Invalid    int // refused: NaN, infinite, a time no key can hold (MaxTimestampMS) or a series too many (MaxSeries)
}

// OpenInserter opens the file for collectord, makes or upgrades it, and begins a
// session. durability is how much a power cut may cost: ticks are synced to the
// disk at least that often, 0 = each one. A killed process loses no committed
// tick whatever durability says.
func OpenInserter(ctx context.Context, o Options, durability time.Duration) (*Inserter, error) {
	o = o.withDefaults()
	db, l, err := open(ctx, o, "NORMAL", 2) // the writing connection, and one for readers
	if err != nil {
		return nil, err
	}
	in := &Inserter{file: file{o.Path, db}, o: o, lock: l, durability: durability}
	if err := in.prepare(ctx); err != nil {
		err = fmt.Errorf("open store %q: %w", o.Path, classify(err))
		return nil, errors.Join(err, RequestSalvage(o.Path, err), in.close())
	}
	return in, nil
}

func (in *Inserter) prepare(ctx context.Context) (err error) {
	if in.session, err = beginSession(ctx, in.db, in.o); err != nil {
		return err
	}
	if in.w, err = newWriter(ctx, in.db); err != nil {
		return err
	}
	if in.through, err = readThrough(ctx, in.db); err != nil {
		return err
	}
	const insert = "INSERT INTO metrics (dedup_key, value, session) VALUES (?,?,?)"
	type statement struct {
		stmt **sql.Stmt
		text string
	}
	statements := []statement{
		{&in.stmts.text, "INSERT INTO metrics (dedup_key, value_text, session) VALUES (?,?,?) ON CONFLICT DO NOTHING"},
		{&in.stmts.findSeries, "SELECT id FROM series WHERE dedup_key = ?"},
		{&in.stmts.addSeries, "INSERT INTO series (dedup_key, name, tags, device_id, value_type) VALUES (?,?,?,?,?) RETURNING id"},
		{&in.stmts.newest, "SELECT coalesce(max(id), 0) FROM upload_checkpoints"},
		{&in.stmts.lowWater, "UPDATE outbox SET low_water = ?1 WHERE low_water > ?1"},
	}
	for i, n := range groupRows {
		statements = append(statements, statement{&in.stmts.groups[i], insert + strings.Repeat(",(?,?,?)", n-1) + " ON CONFLICT DO NOTHING"})
	}
	for _, p := range statements {
		if *p.stmt, err = in.w.conn.PrepareContext(ctx, p.text); err != nil {
			return err
		}
		in.stmts.all = append(in.stmts.all, *p.stmt)
	}
	in.args = make([]any, 0, 3*mostRows)
	return nil
}

// Session returns the run that this handle began.
func (in *Inserter) Session() Session { return in.session }

// Insert stores the samples of one tick in one transaction: all of them or, on
// an error, none. A sample whose series already has a row at that millisecond
// is refused and counted, so inserting a tick again is harmless.
//
// Errors wrap ErrFull, ErrBusy, ErrReadOnly, ErrIO or ErrDamaged where they apply; the
// caller may try again with the same samples. Not for use by several goroutines
// at once.
func (in *Inserter) Insert(ctx context.Context, ts time.Time, samples []Sample) (r InsertResult, err error) {
	ms := ts.UnixMilli()
	if ms < 0 || ms > MaxTimestampMS {
		return InsertResult{Invalid: len(samples)}, nil
	}
	in.fresh = in.fresh[:0]
	through := in.through
	err = in.w.tx(ctx, in.durability, func(ctx context.Context, tx *sql.Tx) (err error) {
		r = InsertResult{}
		if err := in.insertRows(ctx, ms, samples, &r); err != nil || r.Inserted == 0 {
			return err
		}
		if through, err = bookTick(ctx, tx, through, ms, r.Inserted, in.w.full || time.Since(in.booked) >= bookEvery); err != nil {
			return err
		}
		return in.lookForSync(ctx)
	})
	if err != nil {
		for _, s := range in.fresh {
			s.id = 0 // the row it points at was rolled back
		}
		return InsertResult{}, fmt.Errorf("insert: %w", ExplainAccess(in.o.Path, err))
	}
	if through != in.through {
		in.through, in.booked = through, time.Now()
	}
	in.ticked = time.Now()
	return r, nil
}

// bookEvery is how often a tick books what was inserted, if none is synced.
const bookEvery = 10 * time.Minute

// lookForSync spares a sync: a chunk record that was not there with the last tick
// was written by a synced commit since, and that took everything up to the last
// tick along. While shipperd uploads as often as storage.durability asks, no tick
// has to be synced. The record is seen after its sync: SQLite makes a commit visible
// when the WAL is on the disk.
func (in *Inserter) lookForSync(ctx context.Context) error {
	if in.durability == 0 {
		return nil
	}
	last := in.record
	if err := in.stmts.newest.QueryRowContext(ctx).Scan(&in.record); err != nil {
		return err
	}
	if in.record > last && !in.ticked.IsZero() && in.ticked.After(in.w.lastSync) && !in.w.full {
		in.w.lastSync = in.ticked
	}
	return nil
}

// insertRows inserts in the order of the keys: then each row goes behind the last
// one, and a page that is full is written no more. In the order of the collectors
// half as many pages again would change.
func (in *Inserter) insertRows(ctx context.Context, ms int64, samples []Sample, r *InsertResult) error {
	if err := in.order(ctx, ms, samples, r); err != nil || len(in.rows) == 0 {
		return err
	}
	args := in.args[:0]
	for _, row := range in.rows {
		s := &samples[row.sample]
		if s.Series.Type == Text {
			if err := r.exec(ctx, in.stmts.text, 1, int64(row.key), s.Text, in.session.ID); err != nil {
				return err
			}
			continue
		}
		args = append(args, int64(row.key), s.Value, in.session.ID)
		if len(args) == cap(args) {
			if err := in.insertGroups(ctx, args, r); err != nil {
				return err
			}
			args = args[:0]
		}
	}
	if err := in.insertGroups(ctx, args, r); err != nil {
		return err
	}
	if r.Inserted == 0 {
		return nil
	}
	// The clock may have gone back since shipperd last looked: it must look
	// there again, and must learn that together with the rows.
	_, err := in.stmts.lowWater.ExecContext(ctx, int64(in.rows[0].key))
	return err
}

// insertGroups inserts rows of three arguments each.
func (in *Inserter) insertGroups(ctx context.Context, args []any, r *InsertResult) error {
	for i, n := range groupRows {
		for ; len(args) >= 3*n; args = args[3*n:] {
			if err := r.exec(ctx, in.stmts.groups[i], n, args[:3*n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// keyed is a sample's place in a tick, by its key.
type keyed struct {
	key    Key
	sample int
}

// order fills in.rows with the samples that can be stored, by their keys.
func (in *Inserter) order(ctx context.Context, ms int64, samples []Sample, r *InsertResult) error {
	in.rows = in.rows[:0]
	for i := range samples {
		s := &samples[i]
		if s.Series.Type == Number && (math.IsNaN(s.Value) || math.IsInf(s.Value, 0)) {
			r.Invalid++
			continue
		}
		if s.Series.id == 0 {
			err := in.resolve(ctx, s.Series)
			if errors.Is(err, errTooManySeries) {
				r.Invalid++
				continue
			}
			if err != nil {
				return err
			}
		}
		in.rows = append(in.rows, keyed{PackKey(ms, s.Series.id), i})
	}
	slices.SortFunc(in.rows, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	return nil
}

// exec runs an INSERT of n rows and counts which of them were new.
func (r *InsertResult) exec(ctx context.Context, stmt *sql.Stmt, n int, args ...any) error {
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return err
	}
	added, err := res.RowsAffected()
	if err != nil {
		return err
	}
	r.Inserted += int(added)
	r.Duplicates += n - int(added)
	return nil
}

// resolve finds or makes the row of a series.
func (in *Inserter) resolve(ctx context.Context, s *Series) error {
	key := SeriesKey(s.Device, s.Name, s.Tags, s.Type)
	var id int64
	err := in.stmts.findSeries.QueryRowContext(ctx, key[:]).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = in.stmts.addSeries.QueryRowContext(ctx, key[:], s.Name, s.Tags, s.Device, int(s.Type)).Scan(&id)
		if isCheckFailure(err) {
			return errTooManySeries
		}
	}
	if err != nil {
		return err
	}
	s.id = id
	in.fresh = append(in.fresh, s)
	return nil
}

// EndSession records that the run stops in order: the last write. Close does it
// too; call it before a final checkpoint.
func (in *Inserter) EndSession(ctx context.Context) error {
	if in.ended {
		return nil
	}
	if err := in.session.end(ctx, in.db, in.o); err != nil {
		return err
	}
	in.ended = true
	return nil
}

// Close ends the session in order and closes the file. Checkpoint first if the
// file should be left without a WAL.
func (in *Inserter) Close(ctx context.Context) error {
	return errors.Join(in.EndSession(ctx), in.close())
}

// close frees the statements first: the pool does not know those of a single
// connection, and a connection with open statements is never really closed.
func (in *Inserter) close() (err error) {
	for _, stmt := range in.stmts.all {
		err = errors.Join(err, stmt.Close())
	}
	if in.w != nil {
		err = errors.Join(err, in.w.close())
	}
	return errors.Join(err, in.db.Close(), in.lock.release())
}
