package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"belabox-metrics/shared/jsonline"
	"belabox-metrics/shared/selector"
)

//go:embed schema.sql
var schema string

const (
	// applicationID marks a file as the receiver's ("bMrx"):
	// https://www.sqlite.org/pragma.html#pragma_application_id
	applicationID = 0x624d7278
	// schemaVersion is that of the tables in schema.sql. The gateway's files had a table more and
	// version 2: they can be used as they are.
	schemaVersion, newestVersion = 1, 2

	// seriesPerPage is how many series are read at a time. Between two pages no read is open.
	seriesPerPage = 500
)

// Pragmas stand in the DSN, because one that is executed reaches only one connection of a pool.
var (
	writePragmas = []string{
		"busy_timeout(2000)",
		"journal_mode(WAL)",
		// An answer promises that the samples are on the disk: sync at every commit.
		"synchronous(FULL)",
		"journal_size_limit(16777216)",
		"cache_size(-16384)", // KiB
	}
	readPragmas = []string{"busy_timeout(2000)", "query_only(1)"}
)

// store keeps samples in one SQLite file.
//
// It promises that what write has stored is on the disk, also after a power cut; that a write is
// stored whole or not at all; that a series has one value for a timestamp, the one written last;
// and that no other program's file is touched. One process at a time may have a file open. Reads
// never hold the file for longer than one piece takes to read, however slowly the client takes the
// pieces, because a long read keeps SQLite from resetting its write-ahead log. So a select may or
// may not show samples that are written while it runs.
type store struct {
	lock  *flock.Flock
	write *sql.DB // one connection
	read  *sql.DB
}

// openStore opens the file at path and creates it where there is none; its directory must exist. A
// file that another program or a newer receiver made is refused and left as it is, and so is one
// that another process has open.
func openStore(path string) (*store, error) {
	s := new(store)
	if err := s.open(path); err != nil {
		return nil, fmt.Errorf("open store %q: %w", path, errors.Join(err, s.close()))
	}
	return s, nil
}

func (s *store) open(path string) error {
	// A file has one lock, whatever name it is opened by.
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("directory %q does not exist; create it first", filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	path = filepath.Join(folder, filepath.Base(path))
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	lock := flock.New(path + ".lock")
	if locked, err := lock.TryLock(); err != nil {
		return fmt.Errorf("lock: %w", err)
	} else if !locked {
		return fmt.Errorf("another process has it open (lock file %q)", lock.Path())
	}
	s.lock = lock
	version, err := inspect(path)
	if err != nil {
		return err
	}
	if s.write, err = sql.Open("sqlite", dsn(path, writePragmas)); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if version == 0 {
		if _, err := s.write.Exec(fmt.Sprintf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
			schema, applicationID, schemaVersion)); err != nil {
			return fmt.Errorf("create schema: %w", err)
		}
	}
	s.read, err = sql.Open("sqlite", dsn(path, readPragmas))
	return err
}

// dsn builds the data source name. Transactions are IMMEDIATE: one that begins as a reader and then
// writes can fail with SQLITE_BUSY whatever busy_timeout says.
func dsn(path string, pragmas []string) string {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
}

// inspect refuses a file that is not the receiver's. It opens it read-only, because the pragmas of
// the writer would already change it. Version 0 means that the file is new.
func inspect(path string) (version int, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, errors.New("not a regular file")
	case info.Size() == 0:
		return 0, nil
	}
	// SQLite itself takes a file of a few bytes for an empty database.
	const magic = "SQLite format 3\x00"
	if header, err := readHeader(path, len(magic)); err != nil || header != magic {
		return 0, errors.Join(errors.New("not a SQLite file; it was left as it is, choose another file"), err)
	}
	db, err := sql.Open("sqlite", dsn(path, readPragmas)+"&mode=ro")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var application, tables int
	err = db.QueryRow(`SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`).Scan(&application, &version, &tables)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w; it was left as it is, choose another file", err)
	case application == 0 && version == 0 && tables == 0:
		return 0, nil // a receiver that was killed before its first transaction
	case application != applicationID:
		return 0, fmt.Errorf("belongs to another program (application_id %#x, want %#x); it was left as it is, "+
			"choose another file", application, applicationID)
	case version > newestVersion:
		return 0, fmt.Errorf("schema %d is newer than this receiver's %d; use the newer receiver", version, newestVersion)
	}
	return version, nil
}

// readHeader returns the first n bytes of a file, or all of a shorter one.
func readHeader(path string, n int) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	header, err := io.ReadAll(io.LimitReader(f, int64(n)))
	return string(header), err
}

// close empties the write-ahead log into the file and closes it. Readers go first: they would hold
// up the last checkpoint. A select that still runs gets an error.
func (s *store) close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// insert stores the samples of lines in one transaction and returns when they are on the disk. A
// sample whose series has that timestamp already replaces the stored value. On an error nothing was
// stored.
func (s *store) insert(ctx context.Context, lines []jsonline.Line) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	// A sample that is stored already with the same value changes no page.
	add, err := tx.Prepare(`INSERT INTO samples VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value`)
	if err != nil {
		return err
	}
	for _, l := range lines {
		id, err := seriesID(tx, l.Metric)
		if err != nil {
			return err
		}
		for i, ts := range l.Timestamps {
			if _, err := add.Exec(id, ts, l.Values[i]); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

// seriesID returns the id of a series and creates it where it is new.
func seriesID(tx *sql.Tx, metric map[string]string) (id int64, err error) {
	text := jsonline.Canonical(metric)
	err = tx.QueryRow(`SELECT id FROM series WHERE metric = ?`, text).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRow(`INSERT INTO series (metric, name, device_id) VALUES (?, ?, ?) RETURNING id`,
			text, metric["__name__"], metric["device_id"]).Scan(&id)
	}
	return id, err
}

// query is what to select.
type query struct {
	selectors []selector.Selector // the union of these
	from, to  int64               // milliseconds since 1970, both included
	maxRows   int                 // most samples in a piece, at least 1
}

// piece is a run of samples of one series, sorted by time.
type piece struct {
	metric     string // canonical JSON object of the labels
	timestamps []int64
	values     []float64
}

// selectPieces calls yield for the samples that q asks for: series after series, each once, in
// pieces of maxRows samples. Series without a sample in the range are left out. The piece is
// yield's until it returns. An error of yield ends it and is returned.
func (s *store) selectPieces(ctx context.Context, q query, yield func(*piece) error) error {
	for i, sel := range q.selectors {
		for after := int64(0); ; {
			page, err := s.seriesPage(ctx, sel, after)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].id
			for _, row := range page {
				earlier := slices.ContainsFunc(q.selectors[:i], func(e selector.Selector) bool { return e.Matches(row.metric) })
				if earlier || !sel.Matches(row.metric) {
					continue
				}
				if err := s.eachPiece(ctx, q, row, yield); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type seriesRow struct {
	id     int64
	text   string // canonical
	metric map[string]string
}

// seriesPage reads the next series that sel may pick. It narrows by device or else by name, which
// have an index.
func (s *store) seriesPage(ctx context.Context, sel selector.Selector, after int64) ([]seriesRow, error) {
	text, args := `SELECT id, metric FROM series WHERE id > ? `, []any{after}
	if device := sel.Equal("device_id"); device != "" {
		text, args = text+`AND device_id = ? `, append(args, device)
	} else if name := sel.Equal("__name__"); name != "" {
		text, args = text+`AND name = ? `, append(args, name)
	}
	rows, err := s.read.QueryContext(ctx, text+`ORDER BY id LIMIT ?`, append(args, seriesPerPage)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var page []seriesRow
	for rows.Next() {
		var row seriesRow
		if err := rows.Scan(&row.id, &row.text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(row.text), &row.metric); err != nil {
			return nil, fmt.Errorf("series %d: %w", row.id, err)
		}
		page = append(page, row)
	}
	return page, rows.Err()
}

// eachPiece yields the samples of one series.
func (s *store) eachPiece(ctx context.Context, q query, row seriesRow, yield func(*piece) error) error {
	p := piece{metric: row.text}
	for from := q.from; from <= q.to; {
		if err := s.fill(ctx, &p, row.id, from, q.to, q.maxRows); err != nil {
			return err
		}
		if len(p.timestamps) == 0 {
			return nil
		}
		// Before yield, which may do with the piece what it likes.
		from = p.timestamps[len(p.timestamps)-1] + 1
		last := len(p.timestamps) < q.maxRows
		if err := yield(&p); err != nil || last {
			return err
		}
	}
	return nil
}

func (s *store) fill(ctx context.Context, p *piece, id, from, to int64, limit int) error {
	p.timestamps, p.values = p.timestamps[:0], p.values[:0]
	rows, err := s.read.QueryContext(ctx, `SELECT timestamp_ms, value FROM samples
		WHERE series_id = ? AND timestamp_ms BETWEEN ? AND ? ORDER BY timestamp_ms LIMIT ?`, id, from, to, limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var ts int64
		var v float64
		if err := rows.Scan(&ts, &v); err != nil {
			return err
		}
		p.timestamps, p.values = append(p.timestamps, ts), append(p.values, v)
	}
	return rows.Err()
}

// prune removes the samples before the given time (milliseconds since 1970), and the series that
// have none left. It returns how many samples it removed. The file keeps its size and reuses the
// room. Each series has a transaction of its own, found by the primary key, so that an import
// never waits long for the writer.
func (s *store) prune(ctx context.Context, before int64) (removed int64, err error) {
	var last int64
	if err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM series`).Scan(&last); err != nil {
		return 0, err
	}
	for id := int64(0); id < last; {
		// One statement finds the next series, another removes from it.
		if err := s.read.QueryRowContext(ctx, `SELECT min(id) FROM series WHERE id > ?`, id).Scan(&id); err != nil {
			return removed, err
		}
		result, err := s.write.ExecContext(ctx, `DELETE FROM samples WHERE series_id = ? AND timestamp_ms < ?`, id, before)
		if err != nil {
			return removed, err
		}
		n, err := result.RowsAffected()
		if removed += n; err != nil {
			return removed, err
		}
		if n == 0 {
			continue
		}
		if _, err := s.write.ExecContext(ctx, `DELETE FROM series WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM samples WHERE series_id = ?1)`, id); err != nil {
			return removed, err
		}
	}
	return removed, nil
}
