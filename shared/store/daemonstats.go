package store

import (
	"context"
	"database/sql"
	"fmt"
)

// SaveStats writes shipperd's numbers down, for collectord to sample and for the
// next run to go on from. Not synced: a power cut may take back what was counted
// since the last sync. Of stats Daemon and Updated are set here.
func (ob *Outbox) SaveStats(ctx context.Context, stats []Stat) error {
	return saveStats(ctx, ob.w, ob.o, stats)
}

// SaveStats writes collectord's numbers down, for the next run to go on from.
func (in *Inserter) SaveStats(ctx context.Context, stats []Stat) error {
	return saveStats(ctx, in.w, in.o, stats)
}

// Stats returns what shipperd last saved; nothing if it never did.
func (ob *Outbox) Stats(ctx context.Context) ([]Stat, error) {
	return readStats(ctx, ob.db, "shipperd")
}

// Stats returns what a daemon last saved; nothing if it never did.
func (in *Inserter) Stats(ctx context.Context, daemon string) ([]Stat, error) {
	return readStats(ctx, in.db, daemon)
}

func saveStats(ctx context.Context, w *writer, o Options, stats []Stat) error {
	now := o.Now().UnixMilli()
	err := w.tx(ctx, unsynced, func(ctx context.Context, tx *sql.Tx) error {
		// What the daemon no longer tells, it no longer has: a label value that
		// has gone would otherwise be sampled for ever.
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
		return fmt.Errorf("save the daemon's numbers: %w", err)
	}
	return nil
}

func readStats(ctx context.Context, q querier, daemon string) ([]Stat, error) {
	rows, err := q.QueryContext(ctx, `SELECT daemon, name, tags, kind, value, updated_ms FROM daemon_stats
		WHERE daemon = ? ORDER BY name, tags`, daemon)
	if err != nil {
		return nil, fmt.Errorf("read numbers of %s: %w", daemon, classify(err))
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	var stats []Stat
	for rows.Next() {
		var s Stat
		var updated int64
		if err := rows.Scan(&s.Daemon, &s.Name, &s.Tags, &s.Kind, &s.Value, &updated); err != nil {
			return nil, fmt.Errorf("read numbers of %s: %w", daemon, classify(err))
		}
		s.Updated = fromMS(updated)
		stats = append(stats, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read numbers of %s: %w", daemon, classify(err))
	}
	return stats, nil
}
