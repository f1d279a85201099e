package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// MarkAllUploaded is MarkUploaded for several chunks that the server took whole,
// in one transaction: each one writes whole pages, and that is what wears a card.
func (ob *Outbox) MarkAllUploaded(ctx context.Context, chunks ...*Chunk) error {
	return ob.settle(ctx, chunks, Accepted, func(ctx context.Context, tx execer, alone bool) error {
		batches := map[string]KeySet{}
		for _, c := range chunks {
			batches[c.BatchID] = append(batches[c.BatchID], c.Keys...)
		}
		for _, keys := range batches {
			// Together the chunks of an upload mostly are all pending rows of their
			// span, also where each by itself is not.
			slices.Sort(keys) // no row is in two open chunks
			if err := setUploaded(ctx, tx, keys, alone, 1); err != nil {
				return err
			}
		}
		return nil
	})
}

// MarkVerified records that the rows of the chunks were read back, all of them,
// in one transaction. Crash window: if the commit is lost, they are read back
// once more.
func (ob *Outbox) MarkVerified(ctx context.Context, chunks ...*Chunk) error {
	return ob.settle(ctx, chunks, Verified, func(ctx context.Context, tx execer, alone bool) error {
		for _, c := range chunks {
			if c.State == Accepted {
				continue // marked since its 2xx
			}
			if err := setUploaded(ctx, tx, c.Keys, alone && c.Contiguous, 1); err != nil {
				return err // its reply was lost
			}
		}
		return nil
	})
}

// UploadedByDevice returns for each device how many numbers of the span, both
// ends inclusive, in milliseconds of Timeline.MS, have uploaded = 1. Devices without any
// are not in the map.
func (r *Reader) UploadedByDevice(ctx context.Context, fromMS, toMS int64) (map[string]int64, error) {
	devices, err := r.allDevices(ctx)
	if err != nil {
		return nil, err
	}
	// Nearly every file has one device, and then no row's series is needed.
	query := "SELECT '', count(value) FROM metrics WHERE dedup_key BETWEEN ? AND ? AND uploaded = 1"
	if len(devices) > 1 {
		query = `SELECT s.device_id, count(m.value) FROM metrics m JOIN series s ON s.id = m.dedup_key & 4194303
			WHERE m.dedup_key BETWEEN ? AND ? AND m.uploaded = 1 GROUP BY s.device_id`
	}
	ranges, err := r.ranges(ctx, fromMS, toMS)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, span := range ranges {
		err = each(ctx, r.db, func(rows *sql.Rows) error {
			var device string
			var n int64
			err := rows.Scan(&device, &n)
			if len(devices) == 1 {
				device = devices[0]
			}
			if n > 0 {
				counts[device] += n
			}
			return err
		}, query, int64(span.From), int64(span.To))
		if err != nil {
			return nil, fmt.Errorf("count uploaded rows: %w", err)
		}
	}
	return counts, nil
}

// UploadedKeys returns the keys of the numbers of the span, both ends inclusive, in
// milliseconds of Timeline.MS, that have uploaded = 1, in ascending order.
func (r *Reader) UploadedKeys(ctx context.Context, fromMS, toMS int64) (keys KeySet, err error) {
	ranges, err := r.ranges(ctx, fromMS, toMS)
	if err != nil {
		return nil, err
	}
	for _, span := range ranges {
		found, err := many(ctx, r.db, readKey, "SELECT dedup_key FROM metrics WHERE dedup_key BETWEEN ? AND ? AND uploaded = 1 AND value IS NOT NULL ORDER BY dedup_key",
			int64(span.From), int64(span.To))
		if err != nil {
			return nil, fmt.Errorf("list uploaded rows: %w", err)
		}
		keys = append(keys, found...)
	}
	return keys, nil
}

// LastKey returns the greatest key in the file, 0 where there is no row.
func (r *Reader) LastKey(ctx context.Context) (k Key, err error) {
	if err := scan(r.db.QueryRowContext(ctx, "SELECT coalesce(max(dedup_key), 0) FROM metrics"), &k); err != nil {
		return 0, fmt.Errorf("read last row: %w", classify(err))
	}
	return k, nil
}
