package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Stat is a row of table daemon_stats: one of a daemon's self-metrics.
type Stat struct {
	Daemon, Name string
	Tags         string // JSON object
	Kind         string
	Value        float64
	Updated      time.Time
}

// mostStats is how many rows one statement takes: as in mostRows, it costs more than a row.
const mostStats = 16

func saveStats(ctx context.Context, w *writer, o Options, stats []Stat) error {
	now := o.Now().UnixMilli()
	err := w.tx(ctx, unsynced, func(ctx context.Context, tx execer) error {
		// A label value that the daemon no longer has would otherwise be sampled for
		// ever.
		if _, err := tx.ExecContext(ctx, "DELETE FROM daemon_stats WHERE daemon = ?", o.Daemon); err != nil {
			return err
		}
		for some := range slices.Chunk(stats, mostStats) {
			args := []any{o.Daemon, now}
			for _, s := range some {
				args = append(args, s.Name, s.Tags, s.Kind, s.Value)
			}
			query := "INSERT INTO daemon_stats (daemon, updated_ms, name, tags, kind, value) VALUES (?,?,?,?,?,?)" + strings.Repeat(",(?1,?2,?,?,?,?)", len(some)-1)
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save self-metrics: %w", err)
	}
	return nil
}

// Stats returns what these daemons last saved, by daemon, name and tags; without any,
// what both did. Nothing if they never did.
func (f *file) Stats(ctx context.Context, daemons ...string) ([]Stat, error) {
	stats, err := all(ctx, f.db, func(rows *sql.Rows) (s Stat, err error) {
		var updated int64
		err = rows.Scan(&s.Daemon, &s.Name, &s.Tags, &s.Kind, &s.Value, &updated)
		s.Updated = fromMS(updated)
		return s, err
	}, "SELECT daemon, name, tags, kind, value, updated_ms FROM daemon_stats ORDER BY daemon, name, tags")
	if err != nil {
		return nil, fmt.Errorf("read self-metrics: %w", err)
	}
	return slices.DeleteFunc(stats, func(s Stat) bool { return len(daemons) > 0 && !slices.Contains(daemons, s.Daemon) }), nil
}
