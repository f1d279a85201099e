package store

import (
	"context"
	"database/sql"
	"fmt"
)

// EpochSpan is an epoch with the milliseconds of the keys of its first and last row, those that
// were pruned included.
type EpochSpan struct {
	Epoch
	FromMS, ToMS int64
	Rows         bool // it has any
}

// queryEpochSpans looks the ends up, two searches an epoch. Rows that were pruned count up to
// pruned_through: the server still has them.
const queryEpochSpans = `SELECT first_key, boot_id, wall_offset_ms, wall_minus_boot_ms, synchronised, coalesce(true_offset_ms, 0), coalesce(how, ''),
	(SELECT min(dedup_key) FROM metrics WHERE dedup_key >= first_key AND dedup_key < until),
	(SELECT max(dedup_key) FROM metrics WHERE dedup_key >= first_key AND dedup_key < until),
	min(until - 1, (SELECT coalesce(max(samples), 0) FROM ledger WHERE account = 'pruned_through'))
	FROM (SELECT *, coalesce(lead(first_key) OVER (ORDER BY first_key), 9223372036854775807) AS until FROM epochs)
	ORDER BY first_key`

// EpochSpans returns all epochs in the order of their keys.
func (r *Reader) EpochSpans(ctx context.Context) ([]EpochSpan, error) {
	spans, err := all(ctx, r.db, func(rows *sql.Rows) (s EpochSpan, err error) {
		var first, last sql.Null[Key]
		var pruned Key
		err = rows.Scan(&s.First, &s.Boot, &s.WallOffset, &s.WallMinusBoot, &s.Synchronised, &s.TrueOffset, &s.How, &first, &last, &pruned)
		if pruned >= s.First && pruned > 0 {
			if !first.Valid || s.First.TimestampMS() < first.V.TimestampMS() {
				first = sql.Null[Key]{V: s.First, Valid: true}
			}
			last = sql.Null[Key]{V: max(last.V, pruned), Valid: true}
		}
		s.Rows, s.FromMS, s.ToMS = first.Valid, first.V.TimestampMS(), last.V.TimestampMS()
		if !s.Rows {
			s.FromMS, s.ToMS = s.First.TimestampMS(), s.First.TimestampMS()
		}
		return s, err
	}, queryEpochSpans)
	if err != nil {
		return nil, fmt.Errorf("read epochs: %w", err)
	}
	return spans, nil
}
