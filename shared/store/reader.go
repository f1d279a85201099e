package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/bits"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"belabox-metrics/migrations"
	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/store/internal/salvage"
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
	closeView func() error // nil: it has the files open as a daemon has

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
//
// While a daemon has the database open, the Reader is one more reader of it. Else it looks at the
// files without changing a byte of them: opening them with SQLite would recover, or even delete, a
// WAL.
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	r := &Reader{file: file{path: path}}
	open := openBeside
	if !inUse(path) {
		open = func(path string, how url.Values) (db *sql.DB, err error) {
			how.Del("mode")
			db, r.closeView, err = salvage.View(path, how)
			return db, err
		}
	}
	var err error
	if r.db, err = openExisting(ctx, path, url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)"}}, readerConns, open); err != nil {
		if r.closeView != nil {
			err = errors.Join(err, r.closeView())
		}
		return nil, err
	}
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error {
	err := r.db.Close()
	if r.closeView != nil {
		err = errors.Join(err, r.closeView())
	}
	return err
}

// inUse reports whether a process that may write has the database open. When that cannot be found
// out it may.
func inUse(path string) bool {
	f, err := datafile.Open(path+".open.lock", os.O_RDONLY, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close() //nolint:errcheck // it was only read; the lock ends with it
	alone, err := (&openLock{file: f}).flock(syscall.LOCK_EX)
	return err != nil || !alone
}

// openBeside opens the file as a daemon does.
func openBeside(path string, how url.Values) (*sql.DB, error) {
	return openDB((&url.URL{Scheme: "file", Path: path, RawQuery: how.Encode()}).String())
}

// openExisting opens a file that must be there with the newest schema. how is
// what the DSN says beyond the settings common to all.
func openExisting(ctx context.Context, path string, how url.Values, conns int,
	open func(path string, how url.Values) (*sql.DB, error),
) (db *sql.DB, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open store %q: %w", path, classify(err))
		}
	}()
	if !filepath.IsAbs(path) {
		return nil, errors.New("the path must be absolute")
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoFile
	}
	if err := checkFiles(path); err != nil {
		return nil, err
	}
	if FileSize(path) == 0 && WALSize(path) > 0 { // SQLite would delete the WAL
		return nil, fmt.Errorf("%w: it is empty, and its WAL is not", ErrDamaged)
	}
	for _, pragma := range []string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "trusted_schema(0)", fmt.Sprintf("cache_size(-%d)", cacheKiB)} {
		how.Add("_pragma", pragma)
	}
	if db, err = open(path, how); err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if err = checkCurrent(ctx, db); err == nil {
		err = warm(ctx, db, conns)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkCurrent requires a file of ours with the schema that this program supports.
func checkCurrent(ctx context.Context, db *sql.DB) error {
	if err := checkFile(ctx, db); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, db)
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

	// Fault is why none of its samples can be delivered, the reason of a dead letter; "" = it is
	// sound. The rest says what the file has, as far as it could be read.
	Fault, Detail string
}

// Faults of a series.
const (
	UnknownSeries = "unknown_series"
	DamagedSeries = "damaged_series"
)

// maxText bounds the texts that are read from the file.
const maxText = 64 << 10

// checkSeries compares a series with its key: one flipped bit must not make another series of it.
func checkSeries(id int64, key []byte, device, name, tags, typ any) *SeriesInfo {
	s := &SeriesInfo{ID: id, Fault: DamagedSeries, Detail: "the row of the series does not match its checksum"}
	s.Device, _ = device.(string)
	s.Name, _ = name.(string)
	object, _ := tags.(string)
	n, _ := typ.(int64)
	s.Type = ValueType(n)
	if want := seriesKey(s.Device, s.Name, object, s.Type); !vouches(key, want) {
		return s
	}
	var err error
	if s.Tags, err = ParseTags(object); err != nil {
		s.Detail = err.Error()
		return s
	}
	s.Fault, s.Detail = "", ""
	return s
}

// vouches reports whether a stored key is the checksum want, or was: a few flipped bits in the key
// itself speak for the rest.
func vouches(key []byte, want [sha256.Size]byte) bool {
	if len(key) != len(want) {
		return false
	}
	flipped := 0
	for i := range key {
		flipped += bits.OnesCount8(key[i] ^ want[i])
	}
	return flipped <= 16
}

// Series returns the series of a key. Sound series never change and never leave the file, so each
// is read once; one with a fault may have been repaired by collectord since.
func (r *Reader) Series(ctx context.Context, id int64) (*SeriesInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.series[id]; s != nil && s.Fault == "" {
		return s, nil
	}
	if err := r.loadSeries(ctx, id); err != nil {
		return nil, err
	}
	if s := r.series[id]; s != nil {
		return s, nil
	}
	return &SeriesInfo{ID: id, Fault: UnknownSeries, Detail: fmt.Sprintf("series %d is not in the file", id)}, nil
}

// SeriesAfter returns the series with an id above after, by id: 0 gives all, the last
// one's id those that were made since.
func (r *Reader) SeriesAfter(ctx context.Context, after int64) (series []*SeriesInfo, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.loadSeries(ctx, 0); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(r.series)) {
		if id > after && r.series[id].Fault == "" {
			series = append(series, r.series[id])
		}
	}
	return series, nil
}

// allDevices returns the devices of all series in the file.
func (r *Reader) allDevices(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.loadSeries(ctx, 0); err != nil {
		return nil, err
	}
	return slices.Clone(r.devices), nil
}

// loadSeries reads all new series at once, since a device makes its series in a few ticks, and the
// one with this id again.
func (r *Reader) loadSeries(ctx context.Context, again int64) error {
	err := each(ctx, r.db, func(rows *sql.Rows) (err error) {
		var id int64
		var key []byte
		var device, name, tags, typ any
		if err := rows.Scan(&id, &key, &device, &name, &tags, &typ); err != nil {
			return err
		}
		if r.series == nil {
			r.series = map[int64]*SeriesInfo{}
		}
		s := checkSeries(id, key, device, name, tags, typ)
		r.series[id], r.newest = s, max(r.newest, id)
		if s.Fault == "" && !slices.Contains(r.devices, s.Device) {
			r.devices = append(r.devices, s.Device)
		}
		return nil
	}, `SELECT id, substr(dedup_key, 1, 33), iif(octet_length(device_id) <= ?1, device_id, NULL), iif(octet_length(name) <= ?1, name, NULL),
		iif(octet_length(tags) <= ?1, tags, NULL), value_type FROM series WHERE id > ?2 OR id = ?3 ORDER BY id`, maxText, r.newest, again)
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

func readRow(row []driver.Value) (r Row, err error) {
	if r.Key, err = readKey(row); err != nil {
		return r, err
	}
	if r.Null = row[1] == nil; !r.Null {
		r.Value, err = column[float64](row[1])
	}
	return r, err
}

func readKey(row []driver.Value) (Key, error) {
	k, err := column[int64](row[0])
	return Key(k), err
}

// Rows returns the rows of keys that are in the file, in order. Rows that the
// size budget has dropped in the meantime are absent.
func (r *Reader) Rows(ctx context.Context, keys KeySet) ([]Row, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	found, err := many(ctx, r.db, readRow, `SELECT m.dedup_key, m.value FROM json_each(?) k
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

func readState(row []driver.Value) (s RowState, err error) {
	if s.Key, err = readKey(row); err != nil {
		return s, err
	}
	uploaded, err := column[int64](row[1])
	if err == nil && uploaded != 0 && uploaded != 1 {
		err = fmt.Errorf("the mark of row %d is %d", s.Key, uploaded)
	}
	s.Uploaded, s.Null = uploaded == 1, row[2] == int64(1)
	return s, err
}

// States returns up to limit rows from key from to key to, both inclusive, in
// order.
func (r *Reader) States(ctx context.Context, from, to Key, limit int) ([]RowState, error) {
	states, err := many(ctx, r.db, readState, queryStates, int64(from), int64(to), int64(limit))
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
	states, err := many(ctx, r.db, readState, `SELECT m.dedup_key, m.uploaded, m.value IS NULL FROM json_each(?) k
		JOIN metrics m ON m.dedup_key = k.value ORDER BY m.dedup_key`, keys.json())
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return states, nil
}

// Count returns how many rows there are from key from to key to, both inclusive.
func (r *Reader) Count(ctx context.Context, from, to Key) (n int64, err error) {
	err = scan(r.db.QueryRowContext(ctx, "SELECT count(*) FROM metrics WHERE dedup_key BETWEEN ? AND ?", int64(from), int64(to)), &n)
	if err != nil {
		return 0, fmt.Errorf("count rows: %w", classify(err))
	}
	return n, nil
}

// Span returns the keys of the oldest and the newest row; ok is false when there
// is none.
func (r *Reader) Span(ctx context.Context) (oldest, newest Key, ok bool, err error) {
	var first, last sql.NullInt64
	err = scan(r.db.QueryRowContext(ctx, "SELECT (SELECT min(dedup_key) FROM metrics), (SELECT max(dedup_key) FROM metrics)"), &first, &last)
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
		AND (? > 0 AND (first_key >> 22) + `+offsetOf("upload_checkpoints.first_key")+` < created_ms - ? OR ? > 0 AND (last_key >> 22) + `+offsetOf("upload_checkpoints.last_key")+` > created_ms + ?)
		ORDER BY id LIMIT ?`, after, pastMS, pastMS, futureMS, futureMS, limit)
	if err != nil {
		return nil, fmt.Errorf("read chunks: %w", err)
	}
	return chunks, nil
}
