package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
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
	letter     int64 // the newest dead letter that the last look saw
	newest     int64 // the newest chunk record that it saw
	looked     int64 // writer.version at that time
	round      int   // how often all series had to be looked up again

	// Used inside the writer's transaction only.
	args  []driver.NamedValue // reused
	rows  []keyed             // reused
	fresh []*Series           // got their id in the open transaction
}

// mostRows is how many rows one INSERT statement takes at most. A statement costs
// more than a row: 64 rows at once halve the CPU time of a tick.
const mostRows = 64

// groupRows are the statements that there are, by their rows.
var groupRows = [...]int{mostRows, 16, 4, 1}

// queryInserts insert that many rows. All have the session of the first.
var queryInserts = func() (queries [len(groupRows)]string) {
	for i, n := range groupRows {
		queries[i] = "INSERT INTO metrics (session, dedup_key, value) VALUES (?,?,?)" + strings.Repeat(",(?1,?,?)", n-1) + " ON CONFLICT DO NOTHING"
	}
	return queries
}()

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
	in := &Inserter{file: file{h.o.Path, h.pool}, handle: h, durability: durability, looked: -1}
	if err := in.prepare(ctx); err != nil {
		return nil, in.unopened(err)
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
	in.args = make([]driver.NamedValue, 1+2*mostRows)
	for i := range in.args {
		in.args[i].Ordinal = i + 1
	}
	in.args[0].Value = in.session.ID
	return nil
}

// Record stores the samples of one tick in one transaction: all of them or, on an error, none. wall
// is the tick's time by the wall clock, at the moment at which it began. The key gets the file time
// that belongs to it, so no sample is refused because of what the wall clock says.
//
// Errors wrap ErrFull, ErrBusy, ErrReadOnly, ErrIO or ErrDamaged where they apply; the
// caller may try again with the same samples. Not for use by several goroutines
// at once.
func (in *Inserter) Record(ctx context.Context, at clock.Moment, wall time.Time, samples []Sample) (InsertResult, error) {
	return in.insert(ctx, samples, func(ctx context.Context, tx execer) (int64, Epoch, error) {
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

// Insert stores samples under a file time of the caller's choice, also before rows that are there:
// all of them or, on an error, none. A sample whose series already has a row at that millisecond is
// refused and counted, so inserting samples again is harmless. Errors are those of Record.
func (in *Inserter) Insert(ctx context.Context, ts time.Time, samples []Sample) (InsertResult, error) {
	return in.insert(ctx, samples, func(context.Context, execer) (int64, Epoch, error) {
		return ts.UnixMilli(), in.reached.epoch, nil
	})
}

// insert stores samples under the millisecond that place gives, and the epoch with them if it is
// another one than before.
func (in *Inserter) insert(ctx context.Context, samples []Sample, place func(context.Context, execer) (int64, Epoch, error)) (r InsertResult, err error) {
	in.fresh = in.fresh[:0]
	through := in.through
	var ms int64
	var e Epoch
	err = in.w.tx(ctx, in.durability, func(ctx context.Context, tx execer) (err error) {
		r = InsertResult{}
		if ms, e, err = place(ctx, tx); err != nil {
			return err
		}
		if ms < 0 || ms > MaxTimestampMS {
			r.Invalid, r.Ended = len(samples), true
			return nil
		}
		record, err := in.look(ctx, tx)
		if err != nil {
			return err
		}
		if err := in.order(ctx, tx, ms, samples, &r); err != nil {
			return err
		}
		if err := in.insertRows(ctx, tx, in.rows, samples, &r); err != nil || r.Inserted == 0 {
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

const queryInsertText = "INSERT INTO metrics (session, dedup_key, value_text) VALUES (?,?,?) ON CONFLICT DO NOTHING"

// insertRows inserts in the order of the keys: then each row goes behind the last
// one, and a page that is full is written no more. In the order of the collectors
// half as many pages again would change.
func (in *Inserter) insertRows(ctx context.Context, tx execer, rows []keyed, samples []Sample, r *InsertResult) error {
	// Straight to the driver, like eachOfMany: database/sql would copy all arguments.
	err := in.w.conn.Raw(func(c any) error {
		for left := rows; len(left) > 0; {
			n, err := in.insertSome(ctx, c.(driver.ExecerContext), left, samples, r)
			if err != nil {
				return err
			}
			left = left[n:]
		}
		return nil
	})
	if err != nil || r.Inserted == 0 {
		return err
	}
	// Rows may have a time of their own, before the mark: shipperd must look there
	// again, and must learn that together with the rows.
	_, err = tx.ExecContext(ctx, "UPDATE outbox SET low_water = ?1 WHERE low_water > ?1", int64(rows[0].key))
	return err
}

// insertSome inserts the first n rows, as many as one statement takes, and counts which were new.
func (in *Inserter) insertSome(ctx context.Context, c driver.ExecerContext, rows []keyed, samples []Sample, r *InsertResult) (n int, err error) {
	numbers := 0
	for numbers < min(len(rows), mostRows) && samples[rows[numbers].sample].Series.Type == Number {
		numbers++
	}
	query, args := queryInsertText, in.args[:3]
	if numbers == 0 {
		n, args[1].Value, args[2].Value = 1, int64(rows[0].key), samples[rows[0].sample].Text
	} else {
		group := slices.IndexFunc(groupRows[:], func(n int) bool { return n <= numbers })
		n = groupRows[group]
		query, args = queryInserts[group], in.args[:1+2*n]
		for i, row := range rows[:n] {
			args[1+2*i].Value, args[2+2*i].Value = int64(row.key), samples[row.sample].Value
		}
	}
	result, err := c.ExecContext(ctx, query, args)
	if err != nil {
		return 0, err
	}
	added, err := result.RowsAffected()
	if err != nil {
		return 0, err
	}
	r.Inserted += int(added)
	r.Duplicates += n - int(added)
	return n, nil
}

// keyed is a sample's place in a tick, by its key.
type keyed struct {
	key    Key
	sample int
}

// order fills in.rows with the samples that can be stored, by their keys.
func (in *Inserter) order(ctx context.Context, tx execer, ms int64, samples []Sample, r *InsertResult) error {
	in.rows = in.rows[:0]
	for i := range samples {
		s := &samples[i]
		if s.Series.Type == Number && (math.IsNaN(s.Value) || math.IsInf(s.Value, 0)) {
			r.Invalid++
			continue
		}
		err := in.find(ctx, tx, s.Series)
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

// find makes sure that the id of a series is known.
func (in *Inserter) find(ctx context.Context, tx execer, s *Series) error {
	if s.id != 0 && s.round == in.round {
		return nil
	}
	return in.resolve(ctx, tx, s)
}

const (
	queryFindSeries = "SELECT id FROM series WHERE dedup_key = ? AND name = ? AND tags = ? AND device_id = ? AND value_type = ?"
	queryAddSeries  = `INSERT INTO series (dedup_key, name, tags, device_id, value_type) VALUES (?,?,?,?,?)
		ON CONFLICT (dedup_key) DO UPDATE SET name = excluded.name, tags = excluded.tags, device_id = excluded.device_id, value_type = excluded.value_type
		WHERE series.dedup_key = excluded.dedup_key RETURNING id`
)

// resolve finds or makes the row of a series. One that has our key and other texts is damaged: the
// key is a checksum, so the texts are put right.
func (in *Inserter) resolve(ctx context.Context, tx execer, s *Series) error {
	key := seriesKey(s.Device, s.Name, s.Tags, s.Type)
	args := []any{key[:], s.Name, s.Tags, s.Device, int(s.Type)}
	var id int64
	err := tx.QueryRowContext(ctx, queryFindSeries, args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, queryAddSeries, args...).Scan(&id)
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

const queryLook = `SELECT coalesce((SELECT max(id) FROM upload_checkpoints), 0), coalesce(max(id), ?1),
	count(*) FILTER (WHERE reason IN ('unknown_series', 'damaged_series')) FROM dead_letters WHERE id > ?1`

// look returns the ID of the newest chunk record, 0 where there is none. It has all series looked
// up again after shipperd has found one that is damaged or missing: new samples must not follow the
// others to the dead letters. Nothing is read while nobody else commits.
func (in *Inserter) look(ctx context.Context, tx execer) (record int64, err error) {
	version, err := in.w.version(ctx)
	if err != nil || version == in.looked {
		return in.newest, err
	}
	var faults int
	if err := tx.QueryRowContext(ctx, queryLook, in.letter).Scan(&in.newest, &in.letter, &faults); err != nil {
		return 0, err
	}
	if faults > 0 {
		in.round++
	}
	in.looked = version
	return in.newest, nil
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
