package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"belabox-metrics/migrations"
)

// States of a file that only those meet who open without making or upgrading it.
var (
	// ErrNoFile: there is no database yet.
	ErrNoFile = errors.New("file not found; collectord creates it at its first start; if collectord runs, use the same -config")
	// ErrOlder: the file waits for its upgrade.
	ErrOlder = errors.New("the file was written by an older version: start collectord or shipperd of this version once, which upgrades it")
)

// file is what every handle has: its methods read what both daemons need.
type file struct {
	path string
	db   *sql.DB
}

// reader is how the other handles embed a Reader, so that it is not an exported field.
type reader = Reader

// Reader is the read side of shipperd's handle, and by itself the handle of commands and
// pages that look at a file beside the running daemons: it makes, upgrades and changes
// nothing, takes no lock and begins no session. Each call is one short read transaction,
// so that no checkpoint waits for it: two calls may see two moments. Safe for use by
// several goroutines.
type Reader struct {
	file

	mu      sync.Mutex
	series  map[int64]*SeriesInfo
	devices []string // of all series
	newest  int64    // greatest id in series; ids are given in ascending order
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
	return &Reader{file: file{path, db}}, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.db.Close() }

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
		return nil, errNotRegular
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

// checkCurrent requires a file of ours with the schema that this program supports.
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
		return fmt.Errorf("schema %d, this program supports %d: %w", version, newest, ErrOlder)
	case version > newest:
		return fmt.Errorf("schema %d, this program supports %d: %w", version, newest, ErrNewer)
	}
	return nil
}

// SeriesInfo is a series as it stands in the file.
type SeriesInfo struct {
	ID     int64
	Device string
	Name   string
	Tags   []Tag // sorted by name
	Type   ValueType
}

// Series returns the series of a key. Series never change and never leave the file, so
// each is read once. One that is missing or makes no sense is ErrDamaged.
func (r *Reader) Series(ctx context.Context, id int64) (*SeriesInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.series[id]; s != nil {
		return s, nil
	}
	if err := r.loadSeries(ctx); err != nil {
		return nil, err
	}
	if s := r.series[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("series %d is not in the file: %w", id, ErrDamaged)
}

// SeriesAfter returns the series with an id above after, by id: 0 gives all, the last
// one's id those that were made since.
func (r *Reader) SeriesAfter(ctx context.Context, after int64) (series []*SeriesInfo, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.loadSeries(ctx); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(r.series)) {
		if id > after {
			series = append(series, r.series[id])
		}
	}
	return series, nil
}

// allDevices returns the devices of all series in the file.
func (r *Reader) allDevices(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.loadSeries(ctx); err != nil {
		return nil, err
	}
	return slices.Clone(r.devices), nil
}

// loadSeries reads all new series at once: a device makes its series in a few ticks.
func (r *Reader) loadSeries(ctx context.Context) error {
	err := each(ctx, r.db, func(rows *sql.Rows) (err error) {
		var s SeriesInfo
		var tags string
		if err := rows.Scan(&s.ID, &s.Device, &s.Name, &tags, &s.Type); err != nil {
			return err
		}
		if s.Tags, err = ParseTags(tags); err != nil {
			return fmt.Errorf("series %d: %w", s.ID, err)
		}
		if r.series == nil {
			r.series = map[int64]*SeriesInfo{}
		}
		r.series[s.ID], r.newest = &s, s.ID
		if !slices.Contains(r.devices, s.Device) {
			r.devices = append(r.devices, s.Device)
		}
		return nil
	}, "SELECT id, device_id, name, tags, value_type FROM series WHERE id > ? ORDER BY id", r.newest)
	if err != nil {
		return fmt.Errorf("read series: %w", err)
	}
	return nil
}

// Row is a row of table metrics.
type Row struct {
	Key   Key
	Value float64
	Null  bool // no number: a text, or a row of an older file without a value
}

func scanRow(rows *sql.Rows) (r Row, err error) {
	var value sql.NullFloat64
	err = rows.Scan(&r.Key, &value)
	r.Value, r.Null = value.Float64, !value.Valid
	return r, err
}

// Rows returns the rows of keys that are in the file, in order. Rows that the
// size budget has dropped in the meantime are absent.
func (r *Reader) Rows(ctx context.Context, keys KeySet) ([]Row, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	found, err := all(ctx, r.db, scanRow, `SELECT m.dedup_key, m.value FROM json_each(?) k
		JOIN metrics m ON m.dedup_key = k.value ORDER BY m.dedup_key`, keys.json())
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return found, nil
}

// RowState is where a row of table metrics stands.
type RowState struct {
	Key      Key
	Uploaded bool
	Null     bool // no number: a text, or a row of an older file without a value
}

// queryStates is the hot path of an audit; a test asserts its plan.
const queryStates = "SELECT dedup_key, uploaded, value IS NULL FROM metrics WHERE dedup_key BETWEEN ? AND ? ORDER BY dedup_key LIMIT ?"

func scanState(rows *sql.Rows) (s RowState, err error) {
	err = rows.Scan(&s.Key, &s.Uploaded, &s.Null)
	return s, err
}

// States returns up to limit rows from key from to key to, both inclusive, in
// order.
func (r *Reader) States(ctx context.Context, from, to Key, limit int) ([]RowState, error) {
	states, err := all(ctx, r.db, scanState, queryStates, int64(from), int64(to), limit)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return states, nil
}

// StatesOf returns the rows of keys that are in the file, in order.
func (r *Reader) StatesOf(ctx context.Context, keys KeySet) ([]RowState, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	states, err := all(ctx, r.db, scanState, `SELECT m.dedup_key, m.uploaded, m.value IS NULL FROM json_each(?) k
		JOIN metrics m ON m.dedup_key = k.value ORDER BY m.dedup_key`, keys.json())
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return states, nil
}

// Count returns how many rows there are from key from to key to, both inclusive.
func (r *Reader) Count(ctx context.Context, from, to Key) (n int64, err error) {
	err = r.db.QueryRowContext(ctx, "SELECT count(*) FROM metrics WHERE dedup_key BETWEEN ? AND ?", int64(from), int64(to)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count rows: %w", classify(err))
	}
	return n, nil
}

// Span returns the keys of the oldest and the newest row; ok is false when there
// is none.
func (r *Reader) Span(ctx context.Context) (oldest, newest Key, ok bool, err error) {
	var first, last sql.NullInt64
	err = r.db.QueryRowContext(ctx, "SELECT (SELECT min(dedup_key) FROM metrics), (SELECT max(dedup_key) FROM metrics)").Scan(&first, &last)
	if err != nil {
		return 0, 0, false, fmt.Errorf("read the span of the rows: %w", classify(err))
	}
	return Key(first.Int64), Key(last.Int64), first.Valid, nil
}

// ChunksBeyond returns up to limit recorded chunks with an id above after, in
// order, that have rows more than pastMS before or futureMS after the chunk's own
// time: those whose timestamps may have been moved. 0 ms is no limit.
func (r *Reader) ChunksBeyond(ctx context.Context, after int64, pastMS, futureMS int64, limit int) ([]*Chunk, error) {
	chunks, err := all(ctx, r.db, scanChunk, "SELECT "+chunkColumns+` FROM upload_checkpoints WHERE id > ? AND state <> 'rejected'
		AND (? > 0 AND first_key >> 22 < created_ms - ? OR ? > 0 AND last_key >> 22 > created_ms + ?)
		ORDER BY id LIMIT ?`, after, pastMS, pastMS, futureMS, futureMS, limit)
	if err != nil {
		return nil, fmt.Errorf("read chunks: %w", err)
	}
	return chunks, nil
}
