package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Freed says what was deleted to keep the file within its budget.
type Freed struct {
	Verified    int // proven rows younger than the retention
	Pending     int // rows that were never delivered: lost, and counted
	DeadLetters int
}

// budgetRows is the size of one delete, as for pruning.
const budgetRows = 5000

// DataSize returns how many bytes of the database file hold data. The file does
// not shrink when rows go: its free pages are used again first.
func (ob *Outbox) DataSize(ctx context.Context) (bytes int64, err error) {
	return dataSize(ctx, ob.db)
}

func dataSize(ctx context.Context, q rowQuerier) (bytes int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT (p.page_count - f.freelist_count) * s.page_size
		FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s`).Scan(&bytes)
	if err != nil {
		return 0, fmt.Errorf("read size of the data: %w", classify(err))
	}
	return bytes, nil
}

// EnforceBudget deletes until the data takes at most maxBytes: proven rows
// first, then the oldest pending ones that are not under way, then the oldest
// dead letters. What was never delivered is booked as dropped for "size".
func (ob *Outbox) EnforceBudget(ctx context.Context, maxBytes int64) (freed Freed, err error) {
	for {
		size, err := ob.DataSize(ctx)
		if err != nil || size <= maxBytes {
			return freed, err
		}
		var n int
		err = ob.w.tx(ctx, unsynced, func(ctx context.Context, tx *sql.Tx) (err error) {
			n = 0
			for _, step := range []struct {
				count *int
				free  func(context.Context, *sql.Tx) (int, error)
			}{{&freed.Verified, freeVerified}, {&freed.Pending, freePending}, {&freed.DeadLetters, freeLetters}} {
				if n, err = step.free(ctx, tx); err != nil || n > 0 {
					*step.count += n
					return err
				}
			}
			return nil
		})
		if err != nil {
			return freed, fmt.Errorf("keep within storage.max_size_mb: %w", err)
		}
		if n == 0 {
			return freed, nil // what is left is under way, or the schema itself
		}
	}
}

func freeVerified(ctx context.Context, tx *sql.Tx) (int, error) {
	safe, err := provenBelow(ctx, tx)
	if err != nil {
		return 0, err
	}
	return deleteOldest(ctx, tx, int64(safe), budgetRows, accountVerified)
}

// freePending drops rows that no open chunk spans: those under way are few, and
// the server may already have them.
func freePending(ctx context.Context, tx *sql.Tx) (n int, err error) {
	rows, err := tx.QueryContext(ctx, `DELETE FROM metrics WHERE dedup_key IN (
		SELECT dedup_key FROM metrics m WHERE dedup_key >= (SELECT low_water FROM outbox) AND uploaded = 0
			AND NOT EXISTS (SELECT 1 FROM upload_checkpoints c WHERE c.state IN ('sending', 'accepted', 'requeued')
				AND m.dedup_key BETWEEN c.first_key AND c.last_key)
		ORDER BY dedup_key LIMIT ?) RETURNING dedup_key, value IS NULL`, budgetRows)
	if err != nil {
		return 0, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	var keys KeySet
	var text int64
	for rows.Next() {
		var k, isText int64
		if err := rows.Scan(&k, &isText); err != nil {
			return 0, err
		}
		keys = append(keys, Key(k))
		text += isText
	}
	if err := rows.Err(); err != nil || len(keys) == 0 {
		return 0, err
	}
	n = len(keys)
	through, err := readThrough(ctx, tx)
	if err != nil {
		return n, err
	}
	var unbooked int64
	for _, k := range keys {
		if k > through {
			unbooked++
		}
	}
	if err := book(ctx, tx, accountInserted, unbooked); err != nil {
		return n, err
	}
	if err := book(ctx, tx, accountText, text); err != nil {
		return n, err
	}
	if err := book(ctx, tx, accountDropped+"size", int64(n)-text); err != nil {
		return n, err
	}
	return n, advanceLowWater(ctx, tx)
}

func freeLetters(ctx context.Context, tx *sql.Tx) (int, error) {
	res, err := tx.ExecContext(ctx, "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY id LIMIT ?)", budgetRows)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, err
	}
	return int(n), book(ctx, tx, accountRejected, n)
}
