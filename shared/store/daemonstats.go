package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
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

func saveStats(ctx context.Context, w *writer, o Options, stats []Stat) error {
	now := o.Now().UnixMilli()
	err := w.tx(ctx, unsynced, func(ctx context.Context, tx execer) error {
		// A label value that the daemon no longer has would otherwise be sampled for
		// ever.
		if _, err := tx.ExecContext(ctx, "DELETE FROM daemon_stats WHERE daemon = ?", o.Daemon); err != nil {
			return err
		}
		for _, s := range stats {
			_, err := tx.ExecContext(ctx, `INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES (?,?,?,?,?,?)`,
				o.Daemon, s.Name, s.Tags, s.Kind, s.Value, now)
			if err != nil {
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
