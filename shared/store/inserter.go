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

	"belabox-metrics/shared/clock"
)

// Inserter is collectord's handle: it inserts samples, and deletes them only in EnforceBudget. One
// Inserter per file and process.
type Inserter struct {
	file
	handle
	durability time.Duration
	ended      bool
	through    Key // up to where inserted rows are booked, see ledger.go
	booked     time.Time
	record     int64     // the newest chunk record that the last tick saw
	ticked     time.Time // when the last tick was committed; zero before
	reached    fileTime
	unsure     bool  // a commit failed, perhaps behind its success: look again where the file stands
	letter     int64 // the newest dead letter that the last tick saw
	round      int   // how often all series had to be looked up again

	// Used inside the writer's transaction only.
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
	look                                  *sql.Stmt

	all []*sql.Stmt
}

// InsertResult says what became of the samples of one Insert.
type InsertResult struct {
	Inserted   int // rows that are new in the file
	Duplicates int // refused: that series has a row at that millisecond
	Invalid    int // refused: NaN, infinite, a time no key can hold (MaxTimestampMS) or a series too many (MaxSeries)

	Ended bool // no key can hold the time: all samples were refused
}

// OpenInserter opens the file for collectord, makes or upgrades it, and begins a
// session. durability is how much a power cut may cost: ticks are synced to the
// disk at least that often, 0 = each one. A killed process loses no committed
// tick whatever durability says.
func OpenInserter(ctx context.Context, o Options, durability time.Duration) (*Inserter, error) {
	h, err := openHandle(ctx, o, 2) // the writing connection, and one for readers
	if err != nil {
		return nil, err
	}
	in := &Inserter{file: file{h.o.Path, h.pool}, handle: h, durability: durability}
	if err := in.prepare(ctx); err != nil {
		return nil, errors.Join(in.closeStatements(), in.unopened(err))
	}
	return in, nil
}

func (in *Inserter) prepare(ctx context.Context) (err error) {
	if in.through, err = readThrough(ctx, in.db); err != nil {
		return err
	}
	if in.reached, err = readFileTime(ctx, in.db); err != nil {
		return err
	}
	const insert = "INSERT INTO metrics (dedup_key, value, session) VALUES (?,?,?)"
	type statement struct {
		stmt **sql.Stmt
		text string
	}
	statements := []statement{
		{&in.stmts.text, "INSERT INTO metrics (dedup_key, value_text, session) VALUES (?,?,?) ON CONFLICT DO NOTHING"},
		{&in.stmts.findSeries, "SELECT id FROM series WHERE dedup_key = ? AND name = ? AND tags = ? AND device_id = ? AND value_type = ?"},
		{&in.stmts.addSeries, `INSERT INTO series (dedup_key, name, tags, device_id, value_type) VALUES (?,?,?,?,?)
			ON CONFLICT (dedup_key) DO UPDATE SET name = excluded.name, tags = excluded.tags, device_id = excluded.device_id, value_type = excluded.value_type
			WHERE series.dedup_key = excluded.dedup_key RETURNING id`},
		{&in.stmts.look, `SELECT coalesce((SELECT max(id) FROM upload_checkpoints), 0), coalesce(max(id), ?1),
			count(*) FILTER (WHERE reason IN ('unknown_series', 'damaged_series')) FROM dead_letters WHERE id > ?1`},
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

// Record stores the samples of one tick in one transaction: all of them or, on an error, none. wall is
// the tick's time by the wall clock, at the moment at which it began. The key gets the file time that
// belongs to it, so no sample is refused because of what the wall clock says.
//
// Errors wrap ErrFull, ErrBusy, ErrReadOnly, ErrIO or ErrDamaged where they apply; the
// caller may try again with the same samples. Not for use by several goroutines
// at once.
func (in *Inserter) Record(ctx context.Context, at clock.Moment, wall time.Time, samples []Sample) (InsertResult, error) {
	return in.insert(ctx, samples, func(ctx context.Context, tx *sql.Tx) (int64, Epoch, error) {
		if in.unsure {
			reached, err := readFileTime(ctx, tx)
			if err != nil {
				return 0, Epoch{}, err
			}
			reached.own = in.reached.own && reached.epoch.First == in.reached.epoch.First
			in.reached, in.unsure = reached, false
		}
		ms, e := in.reached.next(at, wall.UnixMilli())
		return ms, e, nil
	})
}

// Insert stores samples under a file time of the caller's choice, also before rows that are there: all
// of them or, on an error, none. A sample whose series already has a row at that millisecond is
// refused and counted, so inserting samples again is harmless. Errors are those of Record.
func (in *Inserter) Insert(ctx context.Context, ts time.Time, samples []Sample) (InsertResult, error) {
	return in.insert(ctx, samples, func(context.Context, *sql.Tx) (int64, Epoch, error) {
		return ts.UnixMilli(), in.reached.epoch, nil
	})
}

// insert stores samples under the millisecond that place gives, and the epoch with them if it is
// another one than before.
func (in *Inserter) insert(ctx context.Context, samples []Sample, place func(context.Context, *sql.Tx) (int64, Epoch, error)) (r InsertResult, err error) {
	in.fresh = in.fresh[:0]
	through := in.through
	var ms int64
	var e Epoch
	err = in.w.tx(ctx, in.durability, func(ctx context.Context, tx *sql.Tx) (err error) {
		r = InsertResult{}
		if ms, e, err = place(ctx, tx); err != nil {
			return err
		}
		if ms < 0 || ms > MaxTimestampMS {
			r.Invalid, r.Ended = len(samples), true
			return nil
		}
		record, err := in.look(ctx)
		if err != nil {
			return err
		}
		if err := in.order(ctx, ms, samples, &r); err != nil {
			return err
		}
		if err := in.insertRows(ctx, in.rows, samples, &r); err != nil || r.Inserted == 0 {
			return err
		}
		if err := in.saveEpoch(ctx, tx, e); err != nil {
			return err
		}
		if through, err = bookTick(ctx, tx, through, ms, r.Inserted, in.w.full || time.Since(in.booked) >= bookEvery); err != nil {
			return err
		}
		in.noteSync(record)
		return nil
	})
	if err != nil {
		return InsertResult{}, in.failed("insert", err)
	}
	if through != in.through {
		in.through, in.booked = through, time.Now()
	}
	if r.Inserted > 0 {
		in.reached = fileTime{epoch: e, own: in.reached.own || e.First != in.reached.epoch.First, newest: max(in.reached.newest, ms)}
		in.ticked = time.Now()
	}
	return r, nil
}

// failed notes that a transaction was rolled back, or that its success was not seen.
func (in *Inserter) failed(what string, err error) error {
	in.unsure = true
	for _, s := range in.fresh {
		s.id = 0 // the row it points at was rolled back
	}
	return fmt.Errorf("%s: %w", what, ExplainAccess(in.o.Path, err))
}

// bookEvery is how often a tick books what was inserted, if none is synced.
const bookEvery = 10 * time.Minute

// noteSync spares a sync: a chunk record that was not there with the last tick
// was written by a synced commit since, and that took everything up to the last
// tick along. While shipperd uploads as often as storage.durability asks, no tick
// has to be synced. The record is seen after its sync: SQLite makes a commit visible
// when the WAL is on the disk.
func (in *Inserter) noteSync(record int64) {
	if record > in.record && !in.ticked.IsZero() && in.ticked.After(in.w.lastSync) && !in.w.full {
		in.w.lastSync = in.ticked
	}
	in.record = record
}

// insertRows inserts in the order of the keys: then each row goes behind the last
// one, and a page that is full is written no more. In the order of the collectors
// half as many pages again would change.
func (in *Inserter) insertRows(ctx context.Context, rows []keyed, samples []Sample, r *InsertResult) error {
	args := in.args[:0]
	for _, row := range rows {
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
	// Rows may have a time of their own, before the mark: shipperd must look there
	// again, and must learn that together with the rows.
	_, err := in.stmts.lowWater.ExecContext(ctx, int64(rows[0].key))
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
		err := in.find(ctx, s.Series)
		if errors.Is(err, errTooManySeries) {
			r.Invalid++
			continue
		}
		if err != nil {
			return err
		}
		in.rows = append(in.rows, keyed{PackKey(ms, s.Series.id), i})
	}
	sortRows(in.rows)
	return nil
}

// sortRows keeps the order of samples with the same key: the first one is stored.
func sortRows(rows []keyed) {
	slices.SortFunc(rows, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.sample, b.sample)) })
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

// find makes sure that the id of a series is known.
func (in *Inserter) find(ctx context.Context, s *Series) error {
	if s.id != 0 && s.round == in.round {
		return nil
	}
	return in.resolve(ctx, s)
}

// resolve finds or makes the row of a series. One that has our key and other texts is damaged: the
// key is a checksum, so the texts are put right.
func (in *Inserter) resolve(ctx context.Context, s *Series) error {
	key := seriesKey(s.Device, s.Name, s.Tags, s.Type)
	args := []any{key[:], s.Name, s.Tags, s.Device, int(s.Type)}
	var id int64
	err := in.stmts.findSeries.QueryRowContext(ctx, args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = in.stmts.addSeries.QueryRowContext(ctx, args...).Scan(&id)
		if isCheckFailure(err) {
			return errTooManySeries
		}
	}
	if err != nil {
		return err // no row even now: the index leads to another series, which is damage
	}
	s.id, s.round = id, in.round
	in.fresh = append(in.fresh, s)
	return nil
}

// look returns the ID of the newest chunk record, 0 where there is none. It has all series looked up
// again after shipperd has found one that is damaged or missing: new samples must not follow the
// others to the dead letters.
func (in *Inserter) look(ctx context.Context) (record int64, err error) {
	var faults int
	if err := in.stmts.look.QueryRowContext(ctx, in.letter).Scan(&record, &in.letter, &faults); err != nil {
		return 0, err
	}
	if faults > 0 {
		in.round++
	}
	return record, nil
}

// EndSession records that the run stops in order: the last write. Close does it
// too; call it before a final checkpoint.
func (in *Inserter) EndSession(ctx context.Context) error {
	if in.ended || in.left {
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

func (in *Inserter) close() error { return errors.Join(in.closeStatements(), in.handle.close()) }

// closeStatements comes before close: the pool does not know those of a single connection, and a
// connection with open statements is never really closed.
func (in *Inserter) closeStatements() (err error) {
	for _, stmt := range in.stmts.all {
		err = errors.Join(err, stmt.Close())
	}
	return err
}
