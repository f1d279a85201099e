package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"belabox-metrics/migrations"
)

// States of a file that only those meet who open without making or upgrading it.
var (
	// ErrNoFile: there is no database yet.
	ErrNoFile = errors.New("there is no such file: collectord makes it when it first starts; if it runs, give the same -config as it has")
	// ErrOlder: the file waits for its upgrade.
	ErrOlder = errors.New("the file was written by an older version: start collectord or shipperd of this version once, which upgrades it")
)

// Reader is the handle of commands that look at a file beside the running
// daemons. It makes, upgrades and changes nothing, takes no lock and begins no
// session. Each call is one short read transaction, so that no checkpoint waits
// for it: two calls may see two moments. Safe for use by several goroutines.
type Reader struct {
	path string
	ob   *Outbox // its reading half: without writer and session
}

// readerConns: one for a question, one for a second inside its answer.
const readerConns = 2

// OpenReader opens the file at path, which must be absolute. Errors wrap
// ErrNoFile, ErrOlder, ErrNewer, ErrForeign, ErrReadOnly or ErrDamaged where they
// apply.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	db, err := openExisting(ctx, path, url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)"}}, readerConns)
	if err != nil {
		return nil, err
	}
	return &Reader{path: path, ob: &Outbox{db: db, series: map[int64]*SeriesInfo{}}}, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.ob.db.Close() }

// openExisting opens a file that must be there with the newest schema. how is
// what the DSN says beyond the settings common to all.
func openExisting(ctx context.Context, path string, how url.Values, conns int) (db *sql.DB, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %q: %w", path, classify(err))
		}
	}()
	if !filepath.IsAbs(path) {
		return nil, errors.New("the path must be absolute")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNoFile
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file; set storage.path to the name of a file")
	}
	for _, pragma := range []string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "trusted_schema(0)", fmt.Sprintf("cache_size(-%d)", cacheKiB)} {
		how.Add("_pragma", pragma)
	}
	db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: how.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if err := checkCurrent(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkCurrent wants a file of ours with the schema that this program knows.
func checkCurrent(ctx context.Context, db *sql.DB) error {
	if err := checkFile(ctx, db); err != nil {
		return err
	}
	version, err := SchemaVersion(ctx, db)
	if err != nil {
		return err
	}
	switch newest := migrations.Newest(); {
	case version < newest:
		return fmt.Errorf("schema %d, this program reads %d: %w", version, newest, ErrOlder)
	case version > newest:
		return fmt.Errorf("schema %d, this program reads %d: %w", version, newest, ErrNewer)
	}
	return nil
}

// Ledger is Outbox.Ledger.
func (r *Reader) Ledger(ctx context.Context) (Ledger, error) { return r.ob.Ledger(ctx) }

// OpenChunks is Outbox.OpenChunks.
func (r *Reader) OpenChunks(ctx context.Context) ([]*Chunk, error) { return r.ob.OpenChunks(ctx) }

// Rows is Outbox.Rows.
func (r *Reader) Rows(ctx context.Context, keys KeySet) ([]Row, error) { return r.ob.Rows(ctx, keys) }

// Series is Outbox.Series.
func (r *Reader) Series(ctx context.Context, id int64) (*SeriesInfo, error) {
	return r.ob.Series(ctx, id)
}

// SeriesAfter returns the series with an id above after, by id: 0 gives all,
// the last one's id those that were made since.
func (r *Reader) SeriesAfter(ctx context.Context, after int64) ([]*SeriesInfo, error) {
	var ids []int64
	err := r.each(ctx, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM series WHERE id > ? ORDER BY id", after)
	if err != nil {
		return nil, fmt.Errorf("read series: %w", err)
	}
	series := make([]*SeriesInfo, len(ids))
	for i, id := range ids {
		if series[i], err = r.ob.Series(ctx, id); err != nil {
			return nil, err
		}
	}
	return series, nil
}

// RowState is where a row of table metrics stands.
type RowState struct {
	Key      Key
	Uploaded bool
	Null     bool // no number: a text, or a row of an older file without a value
}

// queryStates is the hot path of an audit; a test asserts its plan.
const queryStates = "SELECT dedup_key, uploaded, value IS NULL FROM metrics WHERE dedup_key BETWEEN ? AND ? ORDER BY dedup_key LIMIT ?"

// States returns up to limit rows from key from to key to, both inclusive, in
// order.
func (r *Reader) States(ctx context.Context, from, to Key, limit int) ([]RowState, error) {
	states := make([]RowState, 0, min(limit, 1<<14))
	if err := r.states(ctx, &states, queryStates, int64(from), int64(to), limit); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return states, nil
}

// StatesOf returns the rows of keys that are in the file, in order.
func (r *Reader) StatesOf(ctx context.Context, keys KeySet) ([]RowState, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	states := make([]RowState, 0, len(keys))
	err := r.states(ctx, &states, `SELECT m.dedup_key, m.uploaded, m.value IS NULL FROM json_each(?) k
		JOIN metrics m ON m.dedup_key = k.value ORDER BY m.dedup_key`, keys.json())
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return states, nil
}

func (r *Reader) states(ctx context.Context, out *[]RowState, query string, args ...any) error {
	return r.each(ctx, func(rows *sql.Rows) error {
		var s RowState
		err := rows.Scan(&s.Key, &s.Uploaded, &s.Null)
		*out = append(*out, s)
		return err
	}, query, args...)
}

// Count returns how many rows there are from key from to key to, both inclusive.
func (r *Reader) Count(ctx context.Context, from, to Key) (n int64, err error) {
	err = r.ob.db.QueryRowContext(ctx, "SELECT count(*) FROM metrics WHERE dedup_key BETWEEN ? AND ?", int64(from), int64(to)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count rows: %w", classify(err))
	}
	return n, nil
}

// Span returns the keys of the oldest and the newest row; ok is false when there
// is none.
func (r *Reader) Span(ctx context.Context) (oldest, newest Key, ok bool, err error) {
	var first, last sql.NullInt64
	err = r.ob.db.QueryRowContext(ctx, "SELECT (SELECT min(dedup_key) FROM metrics), (SELECT max(dedup_key) FROM metrics)").Scan(&first, &last)
	if err != nil {
		return 0, 0, false, fmt.Errorf("read the span of the rows: %w", classify(err))
	}
	return Key(first.Int64), Key(last.Int64), first.Valid, nil
}

// ChunksBeyond returns up to limit recorded chunks with an id above after, in
// order, that have rows more than pastMS before or futureMS after the chunk's own
// time: those whose timestamps may have been moved. 0 ms is no limit.
func (r *Reader) ChunksBeyond(ctx context.Context, after int64, pastMS, futureMS int64, limit int) ([]*Chunk, error) {
	var chunks []*Chunk
	err := r.each(ctx, func(rows *sql.Rows) error {
		c, err := scanChunk(rows)
		chunks = append(chunks, c)
		return err
	}, "SELECT "+chunkColumns+` FROM upload_checkpoints WHERE id > ? AND state <> 'rejected'
		AND (? > 0 AND first_key >> 22 < created_ms - ? OR ? > 0 AND last_key >> 22 > created_ms + ?)
		ORDER BY id LIMIT ?`, after, pastMS, pastMS, futureMS, futureMS, limit)
	if err != nil {
		return nil, fmt.Errorf("read chunks: %w", err)
	}
	return chunks, nil
}

// each calls f for every row of the answer to a query.
func (r *Reader) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := r.ob.db.QueryContext(ctx, query, args...)
	if err != nil {
		return classify(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	for rows.Next() {
		if err := f(rows); err != nil {
			return classify(err)
		}
	}
	return classify(rows.Err())
}
