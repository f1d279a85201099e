package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"belabox-metrics/migrations"
)

// inspect looks for damage before anybody works with the file, by the process that is alone with
// it.
func inspect(ctx context.Context, db *sql.DB, o Options) error {
	if err := checkSchema(ctx, db); err != nil {
		return err
	}
	if err := checkRows(ctx, db); err != nil {
		return err
	}
	// The rest reads the whole file, as much as time allows.
	short, cancel := context.WithTimeout(ctx, inspectFor)
	defer cancel()
	for _, check := range []func(context.Context, *sql.DB, Options) error{quickCheck, ledgerAddsUp, liftLowWater} {
		if err := check(short, db, o); err != nil && short.Err() == nil {
			return err
		}
	}
	if short.Err() != nil && ctx.Err() == nil {
		o.Log.Debug("database check not completed", "path", o.Path, "after_seconds", inspectFor.Seconds())
		return lowerLowWater(ctx, db)
	}
	return ctx.Err()
}

// inspectFor bounds the checks at the start: a day of a usual device is read in less, 512 MB on a
// card would take much longer. What they did not come to shows when it is read.
const inspectFor = 2 * time.Second

// quickCheck looks for pages that do not fit together.
// https://sqlite.org/pragma.html#pragma_quick_check
func quickCheck(ctx context.Context, db *sql.DB, _ Options) error {
	var verdict string
	if err := scan(db.QueryRowContext(ctx, "PRAGMA quick_check(1)"), &verdict); err != nil || verdict == "ok" {
		return err
	}
	return fmt.Errorf("%w: %s", ErrDamaged, verdict)
}

var errImpossible = fmt.Errorf("%w: the ledger or the outbox has an impossible number", ErrDamaged)

// checkRows requires the rows that there always are, with numbers that they can have.
func checkRows(ctx context.Context, db *sql.DB) error {
	var inserted, through, lowWater int64
	err := scan(db.QueryRowContext(ctx, `SELECT (SELECT samples FROM ledger WHERE account = ?),
		(SELECT samples FROM ledger WHERE account = ?), (SELECT low_water FROM outbox)`, accountInserted, accountThrough),
		&inserted, &through, &lowWater)
	if err == nil && lowWater < 0 {
		err = errImpossible
	}
	if err != nil {
		return err
	}
	return each(ctx, db, func(rows *sql.Rows) error {
		var account string
		var samples int64
		err := rows.Scan(&account, &samples)
		if err == nil && !possible(account, samples) {
			err = errImpossible
		}
		return err
	}, "SELECT account, samples FROM ledger")
}

// queryInserted is what was ever inserted, by its own account and by what became of it. Unlike
// Ledger it needs no mark: pending or done, a row is a row, and counting them reads none of them.
const queryInserted = `SELECT
	(SELECT samples FROM ledger WHERE account = 'inserted') +
		(SELECT count(*) FROM metrics WHERE dedup_key > (SELECT samples FROM ledger WHERE account = 'inserted_through')),
	(SELECT count(*) FROM metrics) + (SELECT count(*) FROM dead_letters) +
		(SELECT coalesce(sum(samples), 0) FROM ledger WHERE account IN (?, ?, ?) OR account LIKE ? || '%')`

// ledgerAddsUp corrects a ledger of which an account is damaged: the others and the rows say what
// was inserted.
func ledgerAddsUp(ctx context.Context, db *sql.DB, o Options) error {
	var booked, found int64
	err := scan(db.QueryRowContext(ctx, queryInserted, accountVerified, accountText, accountRejected, accountDropped), &booked, &found)
	if err != nil || booked == found {
		return err
	}
	o.Log.Warn("ledger did not add up, corrected", "path", o.Path, "off_by", found-booked)
	_, err = db.ExecContext(ctx, `INSERT OR REPLACE INTO ledger VALUES (?, ?), (?, coalesce((SELECT max(dedup_key) | 4194303 FROM metrics), 0))`,
		accountInserted, found, accountThrough)
	return classify(err)
}

// liftLowWater brings the low-water mark to the first pending row, if that is below it: nobody
// would ever look for it there.
func liftLowWater(ctx context.Context, db *sql.DB, _ Options) error {
	var first sql.NullInt64
	err := scan(db.QueryRowContext(ctx, "SELECT min(dedup_key) FROM metrics WHERE dedup_key < (SELECT low_water FROM outbox) AND uploaded = 0"), &first)
	if err == nil && first.Valid {
		_, err = db.ExecContext(ctx, "UPDATE outbox SET low_water = ?", first.Int64)
	}
	return classify(err)
}

// lowerLowWater is liftLowWater without a look: shipperd moves the mark on while it reads.
func lowerLowWater(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "UPDATE outbox SET low_water = min(low_water, coalesce((SELECT min(dedup_key) FROM metrics), low_water))")
	return classify(err)
}

// checkSchema requires the objects that the migrations make, and no others that have to do with
// them. Tables of others, with their indexes, are left alone.
func checkSchema(ctx context.Context, db *sql.DB) error {
	ours, err := ourSchema()
	if err != nil {
		return err
	}
	have, err := schemaOf(ctx, db, ours.tables)
	if err != nil {
		return err
	}
	for object := range ours.objects {
		if !have[object] {
			return fmt.Errorf("%w: it has no %s", ErrDamaged, object)
		}
	}
	for object := range have {
		if !ours.objects[object] {
			return fmt.Errorf("%w: it has a schema that is not ours: %s", ErrDamaged, object)
		}
	}
	return nil
}

// schema is which objects a file has.
type schema struct {
	tables  string // their names, a JSON array
	objects map[string]bool
}

// ourSchema is the schema that the migrations make.
var ourSchema = sync.OnceValues(func() (s schema, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return s, err
	}
	db.SetMaxOpenConns(1)
	ctx := context.Background()
	for _, step := range migrations.All() {
		err = errors.Join(err, runStep(ctx, db, step))
	}
	if err == nil {
		err = scan(db.QueryRowContext(ctx, "SELECT json_group_array(name) FROM sqlite_schema WHERE type = 'table'"), &s.tables)
	}
	if err == nil {
		s.objects, err = schemaOf(ctx, db, s.tables)
	}
	return s, errors.Join(err, db.Close())
})

// schemaOf describes the objects that have to do with these tables: what they are called and which
// columns they have. Their text differs between files of different origin.
func schemaOf(ctx context.Context, db *sql.DB, tables string) (map[string]bool, error) {
	found, err := all(ctx, db, scanOne[string], `SELECT m.type || ' ' || m.name || ' of ' || m.tbl_name || ': ' || coalesce(
		(SELECT group_concat(name || ' ' || type || iif("notnull", ' not null', '') || iif(pk, ' key', ''), ', ') FROM pragma_table_xinfo(m.name)), '')
		FROM sqlite_schema m WHERE m.name NOT LIKE 'sqlite_stat%' AND (m.type = 'view' OR m.tbl_name IN (SELECT value FROM json_each(?)))`, tables)
	objects := make(map[string]bool, len(found))
	for _, o := range found {
		objects[o] = true
	}
	return objects, err
}
