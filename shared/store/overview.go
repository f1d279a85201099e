package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Backlog is what waits to be delivered.
type Backlog struct {
	Rows     int64
	OldestMS int64 // time of the oldest row, see Timeline.MS; 0 without rows
	SentMS   int64 // time of the newest row that was answered 2xx, if that is behind the oldest; else 0
}

// queryBacklog looks at each row from the low-water mark on: a min beside the count would take a third
// of its time.
var queryBacklog = `WITH found AS MATERIALIZED (SELECT
	(SELECT count(*) FROM metrics WHERE dedup_key >= low_water AND uploaded = 0) AS n,
	(SELECT dedup_key FROM metrics WHERE dedup_key >= low_water AND uploaded = 0 ORDER BY dedup_key LIMIT 1) AS oldest,
	(SELECT max(last_key) FROM upload_checkpoints WHERE state IN ('accepted', 'verified')) AS sent FROM outbox)
	SELECT n, coalesce((oldest >> 22) + ` + offsetOf("oldest") + `, 0), iif(sent > oldest, (sent >> 22) + ` + offsetOf("sent") + `, 0) FROM found`

// Backlog counts the pending rows.
func (f *file) Backlog(ctx context.Context) (b Backlog, err error) {
	err = scan(f.db.QueryRowContext(ctx, queryBacklog), &b.Rows, &b.OldestMS, &b.SentMS)
	if err != nil {
		return b, fmt.Errorf("count pending rows: %w", classify(err))
	}
	return b, nil
}

// ChunkTotal sums the recorded chunks of one state up.
type ChunkTotal struct {
	State   ChunkState
	Chunks  int64
	Samples int64
	Bytes   int64 // compressed
}

// ChunkTotals returns a total for each state that chunks are in, in no order.
func (r *Reader) ChunkTotals(ctx context.Context) ([]ChunkTotal, error) {
	totals, err := all(ctx, r.db, func(rows *sql.Rows) (t ChunkTotal, err error) {
		err = rows.Scan(&t.State, &t.Chunks, &t.Samples, &t.Bytes)
		return t, err
	}, "SELECT state, count(*), sum(sample_count), sum(bytes) FROM upload_checkpoints GROUP BY state")
	if err != nil {
		return nil, fmt.Errorf("count chunks: %w", err)
	}
	return totals, nil
}

// Run is a row of table sessions: one run of a daemon.
type Run struct {
	UUID    string
	Version string
	Started time.Time
	Ended   time.Time // zero: it runs, or was killed
	Clean   bool      // stopped in order
}

// Runs returns the last runs of a daemon, the newest first.
func (r *Reader) Runs(ctx context.Context, daemon string, limit int) ([]Run, error) {
	runs, err := all(ctx, r.db, func(rows *sql.Rows) (s Run, err error) {
		var started, ended int64
		err = rows.Scan(&s.UUID, &s.Version, &started, &ended, &s.Clean)
		s.Started, s.Ended = fromMS(started), fromMS(ended)
		return s, err
	}, `SELECT uuid, version, started_ms, coalesce(ended_ms, 0), clean FROM sessions WHERE daemon = ? ORDER BY id DESC LIMIT ?`, daemon, limit)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return runs, nil
}

// DeadLettersByReason counts the dead letters.
func (r *Reader) DeadLettersByReason(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	err := each(ctx, r.db, func(rows *sql.Rows) error {
		var reason string
		var n int64
		err := rows.Scan(&reason, &n)
		counts[reason] = n
		return err
	}, "SELECT reason, count(*) FROM dead_letters GROUP BY reason")
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	return counts, nil
}

// Sizes are bytes.
type Sizes struct {
	File int64 // the database file
	WAL  int64
	Data int64 // of File; the rest are free pages, which are used again first
}

// Sizes measures the file.
func (r *Reader) Sizes(ctx context.Context) (s Sizes, err error) {
	s.Data, err = r.DataSize(ctx)
	s.File, s.WAL = FileSize(r.path), WALSize(r.path)
	return s, err
}
