package store

import (
	"context"
	"fmt"
)

const (
	// maxPruneRows bounds the samples that one statement removes, so that writes wait for milliseconds only.
	maxPruneRows = 10_000

	pruneSamples = `DELETE FROM samples WHERE (series_id, timestamp_ms) IN (
		SELECT series_id, timestamp_ms FROM samples WHERE series_id = ? AND timestamp_ms < ?
		ORDER BY timestamp_ms LIMIT ?)`
	pruneSeries = `DELETE FROM series WHERE id = ? AND NOT EXISTS (SELECT 1 FROM samples WHERE series_id = id)`
)

// Prune removes the samples before the given time (milliseconds since 1970), and the series that have none left. It
// returns how many samples it removed. Writes go on meanwhile; the file keeps its size and reuses the room.
func (s *Store) Prune(ctx context.Context, before int64) (int64, error) {
	var total, after int64
	for {
		ids, err := s.seriesIDs(ctx, after)
		if err != nil {
			return total, fmt.Errorf("prune: %w", err)
		}
		if len(ids) == 0 {
			return total, nil
		}
		after = ids[len(ids)-1]
		for len(ids) > 0 {
			var done int
			var removed int64
			if err := s.do(ctx, maxPruneRows, func(w *writer) (err error) {
				done, removed, err = w.prune(ids, before)
				return err
			}); err != nil {
				return total, fmt.Errorf("prune: %w", err)
			}
			ids, total = ids[done:], total+removed
		}
	}
}

// seriesIDs returns the next ids after one.
func (s *Store) seriesIDs(ctx context.Context, after int64) ([]int64, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id FROM series WHERE id > ? ORDER BY id LIMIT ?`, after, seriesPerPage)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// prune works through ids until it has removed maxPruneRows samples or more. It returns how many of the ids are done.
func (w *writer) prune(ids []int64, before int64) (done int, removed int64, err error) {
	for done < len(ids) && removed < maxPruneRows {
		result, err := w.pruneSamples.Exec(ids[done], before, maxPruneRows)
		if err != nil {
			return 0, 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, 0, err
		}
		removed += n
		if n == maxPruneRows {
			continue // there may be more of this series
		}
		if result, err = w.pruneSeries.Exec(ids[done]); err != nil {
			return 0, 0, err
		}
		if n, err = result.RowsAffected(); err != nil {
			return 0, 0, err
		}
		if n > 0 {
			w.forget() // an id in the cache is gone
		}
		done++
	}
	return done, removed, nil
}
