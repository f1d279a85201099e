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
	OldestMS int64 // timestamp of the oldest row, 0 without rows
}

// Backlog counts the pending rows, from the low-water mark on.
func (r *Reader) Backlog(ctx context.Context) (Backlog, error) { return backlog(ctx, r.ob.db) }

// Backlog counts the pending rows, for collectord's health report.
func (in *Inserter) Backlog(ctx context.Context) (Backlog, error) { return backlog(ctx, in.db) }

// Backlog counts the pending rows, for shipperd's health report.
func (ob *Outbox) Backlog(ctx context.Context) (Backlog, error) { return backlog(ctx, ob.db) }

func backlog(ctx context.Context, q rowQuerier) (b Backlog, err error) {
	var oldest sql.NullInt64
	err = q.QueryRowContext(ctx, `SELECT count(*), min(dedup_key) FROM metrics
		WHERE dedup_key >= (SELECT low_water FROM outbox) AND uploaded = 0`).Scan(&b.Rows, &oldest)
	if err != nil {
		return b, fmt.Errorf("count pending rows: %w", classify(err))
	}
	b.OldestMS = Key(oldest.Int64).TimestampMS()
	return b, nil
}

// ChunkTotal sums the recorded chunks of one state up.
type ChunkTotal struct {
	State   ChunkState
	Chunks  int64
	Samples int64
	Bytes   int64 // compressed
	// When one of them was last answered 2xx, and when one was last verified,
	// requeued or rejected; zero = never. Records go when their rows are pruned.
	LastAccepted, LastSettled time.Time
}

// ChunkTotals returns a total for each state that chunks are in, in no order.
func (r *Reader) ChunkTotals(ctx context.Context) ([]ChunkTotal, error) {
	var totals []ChunkTotal
	err := r.each(ctx, func(rows *sql.Rows) error {
		var t ChunkTotal
		var accepted, settled int64
		err := rows.Scan(&t.State, &t.Chunks, &t.Samples, &t.Bytes, &accepted, &settled)
		t.LastAccepted, t.LastSettled = fromMS(accepted), fromMS(settled)
		totals = append(totals, t)
		return err
	}, `SELECT state, count(*), sum(sample_count), sum(bytes), coalesce(max(accepted_ms), 0), coalesce(max(settled_ms), 0)
		FROM upload_checkpoints GROUP BY state`)
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
	var runs []Run
	err := r.each(ctx, func(rows *sql.Rows) error {
		var s Run
		var started, ended int64
		err := rows.Scan(&s.UUID, &s.Version, &started, &ended, &s.Clean)
		s.Started, s.Ended = fromMS(started), fromMS(ended)
		runs = append(runs, s)
		return err
	}, `SELECT uuid, version, started_ms, coalesce(ended_ms, 0), clean FROM sessions WHERE daemon = ? ORDER BY id DESC LIMIT ?`, daemon, limit)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return runs, nil
}

// LettersByReason counts the dead letters.
func (r *Reader) LettersByReason(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	err := r.each(ctx, func(rows *sql.Rows) error {
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

// DeadLetters returns up to limit dead letters with an ID above after, by ID.
// reason "" is any.
func (r *Reader) DeadLetters(ctx context.Context, after int64, reason string, limit int) ([]DeadLetter, error) {
	return readLetters(ctx, r.ob.db, "SELECT "+letterColumns+` FROM dead_letters
		WHERE id > ? AND (? = '' OR reason = ?) ORDER BY id LIMIT ?`, after, reason, reason, limit)
}

// DeadLettersAt returns the dead letters whose samples are from fromMS to toMS,
// both inclusive, at most limit.
func (r *Reader) DeadLettersAt(ctx context.Context, fromMS, toMS int64, limit int) ([]DeadLetter, error) {
	return readLetters(ctx, r.ob.db, "SELECT "+letterColumns+" FROM dead_letters WHERE timestamp_ms BETWEEN ? AND ? ORDER BY id LIMIT ?",
		fromMS, toMS, limit)
}

// Sizes are bytes.
type Sizes struct {
	File int64 // the database file
	WAL  int64
	Data int64 // of File; the rest are free pages, which are used again first
}

// Sizes measures the file.
func (r *Reader) Sizes(ctx context.Context) (s Sizes, err error) {
	s.Data, err = r.ob.DataSize(ctx)
	s.File, s.WAL = FileSize(r.path), WALSize(r.path)
	return s, err
}

// Stat is a row of table daemon_stats: one of a daemon's own numbers.
type Stat struct {
	Daemon, Name string
	Tags         string // JSON object
	Kind         string
	Value        float64
	Updated      time.Time
}

// Stats returns the numbers of both daemons, by daemon, name and tags.
func (r *Reader) Stats(ctx context.Context) ([]Stat, error) {
	var stats []Stat
	err := r.each(ctx, func(rows *sql.Rows) error {
		var s Stat
		var updated int64
		err := rows.Scan(&s.Daemon, &s.Name, &s.Tags, &s.Kind, &s.Value, &updated)
		s.Updated = fromMS(updated)
		stats = append(stats, s)
		return err
	}, "SELECT daemon, name, tags, kind, value, updated_ms FROM daemon_stats ORDER BY daemon, name, tags")
	if err != nil {
		return nil, fmt.Errorf("read stats: %w", err)
	}
	return stats, nil
}
