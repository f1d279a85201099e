package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"belabox-metrics/docker/receiver/internal/line"
)

const (
	// rowsPerInsert is how many samples one statement inserts. From about 25 on, more rows save nothing.
	rowsPerInsert = 50
	// maxGroupSamples ends the gathering of writes into one transaction, so that the first of them does not wait long.
	maxGroupSamples = 100_000
	// maxCacheBytes bounds the memory of the series cache.
	maxCacheBytes = 32 << 20
	// maxWALBytes is where the writer no longer trusts SQLite's own checkpoints, which give way to readers.
	maxWALBytes = 64 << 20
)

// job is work for the writer.
type job struct {
	size  int // samples, to bound a transaction
	apply func(*writer) error
	done  chan error // takes one error
}

// Write stores the samples of lines in one transaction and returns when they are on the disk. A sample whose series
// has that timestamp already replaces the stored value. On an error nothing was stored.
func (s *Store) Write(ctx context.Context, lines []line.Line) error {
	return s.WriteChunk(ctx, lines, nil)
}

// WriteChunk is Write for samples that came as a chunk: its receipt, nil for none, is kept if and only if they are.
func (s *Store) WriteChunk(ctx context.Context, lines []line.Line, receipt *Receipt) error {
	size := 0
	for i := range lines {
		size += len(lines[i].Timestamps)
	}
	if size == 0 {
		return nil
	}
	err := s.do(ctx, size, func(w *writer) error {
		if err := w.insert(lines); err != nil || receipt == nil {
			return err
		}
		return w.remember(receipt)
	})
	if err != nil {
		return fmt.Errorf("write %d samples: %w", size, err)
	}
	return nil
}

// serve runs jobs until Close. Those that wait together share a transaction.
func (s *Store) serve(w *writer) {
	for {
		select {
		case <-s.stop:
			return
		case first := <-s.jobs:
			w.transaction(s.gather(first))
		}
	}
}

// gather adds to first the jobs that wait at this moment.
func (s *Store) gather(first job) []job {
	group, size := []job{first}, first.size
	for size < maxGroupSamples {
		select {
		case j := <-s.jobs:
			group, size = append(group, j), size+j.size
		default:
			return group
		}
	}
	return group
}

// writer is the one connection that writes. It belongs to the goroutine of serve.
type writer struct {
	conn   *sql.Conn
	wal    string // path of the write-ahead log
	maxWAL int64  // bytes

	insertMany, insertOne, findSeries, addSeries, pruneSamples, pruneSeries, addReceipt, trimReceipts *sql.Stmt

	statements []*sql.Stmt // all of these, to close them

	// series maps canonical labels to ids. Within a transaction it runs ahead of the file; a rollback empties it.
	series     map[string]int64
	cacheBytes int
	args       []any
}

func newWriter(db *sql.DB, wal string) (*writer, error) {
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, wal: wal, maxWAL: maxWALBytes, series: make(map[string]int64)}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.insertMany, insertSamples(rowsPerInsert)},
		{&w.insertOne, insertSamples(1)},
		{&w.findSeries, `SELECT id FROM series WHERE metric = ?`},
		{&w.addSeries, `INSERT INTO series (metric, name, device_id) VALUES (?, ?, ?)`},
		{&w.pruneSamples, pruneSamples},
		{&w.pruneSeries, pruneSeries},
		{&w.addReceipt, addReceipt},
		{&w.trimReceipts, trimReceipts},
	} {
		if *p.stmt, err = conn.PrepareContext(ctx, p.text); err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.statements = append(w.statements, *p.stmt)
	}
	return w, nil
}

// insertSamples returns the statement for n samples. A sample that is stored already with the same value changes no
// page: a chunk that is sent again costs reading only.
func insertSamples(n int) string {
	return `INSERT INTO samples VALUES ` + strings.Repeat("(?,?,?),", n-1) + `(?,?,?)
		ON CONFLICT DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value`
}

// transaction runs the jobs in one transaction and tells each how it ended. If it fails, each is tried alone, so that
// one that is too large for a nearly full disk takes no other with it.
func (w *writer) transaction(group []job) {
	err := w.commit(group)
	if err == nil || len(group) == 1 {
		for _, j := range group {
			j.done <- err
		}
	} else {
		for _, j := range group {
			j.done <- w.commit([]job{j})
		}
	}
	w.checkpoint()
}

func (w *writer) commit(group []job) error {
	err := w.exec("BEGIN IMMEDIATE")
	for _, j := range group {
		if err == nil {
			err = j.apply(w)
		}
	}
	if err == nil {
		err = w.exec("COMMIT")
	}
	if err == nil {
		return nil
	}
	// The transaction may be over already: SQLite itself rolls back on some errors. Then this one means nothing.
	_ = w.exec("ROLLBACK")
	w.forget()
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_FULL {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// checkpoint empties a write-ahead log that has grown too long, and waits for readers to do so. If they outlast
// busy_timeout, the next transaction tries again.
func (w *writer) checkpoint() {
	if info, err := os.Stat(w.wal); err == nil && info.Size() > w.maxWAL {
		_ = w.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	}
}

func (w *writer) exec(text string) error {
	_, err := w.conn.ExecContext(context.Background(), text)
	return err
}

// insert stores the samples of lines.
func (w *writer) insert(lines []line.Line) error {
	w.args = w.args[:0]
	for i := range lines {
		l := &lines[i]
		if len(l.Timestamps) == 0 {
			continue
		}
		id, err := w.seriesID(l)
		if err != nil {
			return err
		}
		for k, ts := range l.Timestamps {
			w.args = append(w.args, id, ts, l.Values[k])
			if len(w.args) == 3*rowsPerInsert {
				if _, err := w.insertMany.Exec(w.args...); err != nil {
					return err
				}
				w.args = w.args[:0]
			}
		}
	}
	for rest := w.args; len(rest) > 0; rest = rest[3:] {
		if _, err := w.insertOne.Exec(rest[:3]...); err != nil {
			return err
		}
	}
	return nil
}

// seriesID returns the id of a line's series and creates it where it is new.
func (w *writer) seriesID(l *line.Line) (int64, error) {
	if id, ok := w.series[l.Metric]; ok {
		return id, nil
	}
	var id int64
	err := w.findSeries.QueryRow(l.Metric).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		var added sql.Result
		if added, err = w.addSeries.Exec(l.Metric, l.Labels.Get(line.NameLabel), l.Labels.Get(line.DeviceLabel)); err == nil {
			id, err = added.LastInsertId()
		}
	}
	if err != nil {
		return 0, fmt.Errorf("series: %w", err)
	}
	if w.cacheBytes += len(l.Metric) + 64; w.cacheBytes > maxCacheBytes {
		w.forget()
	}
	w.series[l.Metric] = id
	return id, nil
}

// forget empties the series cache.
func (w *writer) forget() {
	clear(w.series)
	w.cacheBytes = 0
}

// close empties the write-ahead log into the file and closes the connection. The statements first: database/sql does
// not close those of a Conn, and SQLite keeps the log's files for as long as one is open.
func (w *writer) close() error {
	errs := []error{w.exec("PRAGMA wal_checkpoint(TRUNCATE)")}
	for _, stmt := range w.statements {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}
