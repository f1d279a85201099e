package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
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
func (ob *Outbox) EnforceBudget(ctx context.Context, maxBytes int64) (Freed, error) {
	return enforceBudget(ctx, ob.w, ob.db, maxBytes, "size")
}

// EnforceBudget is the Outbox's, for collectord while nobody ships: a shipper that
// has just read the rows would send what is dropped here. It is booked as dropped
// for "unattended".
func (in *Inserter) EnforceBudget(ctx context.Context, maxBytes int64) (Freed, error) {
	return enforceBudget(ctx, in.w, in.db, maxBytes, "unattended")
}

func enforceBudget(ctx context.Context, w *writer, db *sql.DB, maxBytes int64, reason string) (freed Freed, err error) {
	for {
		size, err := dataSize(ctx, db)
		if err != nil || size <= maxBytes {
			return freed, err
		}
		var n int
		var counted *int
		pending := func(ctx context.Context, tx *sql.Tx) (int, error) { return freePending(ctx, tx, reason) }
		err = w.tx(ctx, unsynced, func(ctx context.Context, tx *sql.Tx) (err error) {
			for _, step := range []struct {
				count *int
				free  func(context.Context, *sql.Tx) (int, error)
			}{{&freed.Verified, freeVerified}, {&freed.Pending, pending}, {&freed.DeadLetters, freeLetters}} {
				counted = step.count
				if n, err = step.free(ctx, tx); err != nil || n > 0 {
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
		*counted += n
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
func freePending(ctx context.Context, tx *sql.Tx, reason string) (n int, err error) {
	gaps, err := gapsBetweenOpen(ctx, tx)
	if err != nil {
		return 0, err
	}
	var keys KeySet
	var text int64
	for _, g := range gaps {
		texts, err := dropPending(ctx, tx, g, budgetRows-len(keys), &keys)
		if err != nil {
			return 0, err
		}
		text += texts
		if len(keys) == budgetRows {
			break
		}
	}
	if len(keys) == 0 {
		return 0, nil
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
	if err := book(ctx, tx, accountDropped+reason, int64(n)-text); err != nil {
		return n, err
	}
	return n, advanceLowWater(ctx, tx)
}

// gap is a run of keys, both ends inclusive.
type gap struct{ first, last int64 }

// gapsBetweenOpen returns the keys from the low-water mark on that no open chunk
// spans.
func gapsBetweenOpen(ctx context.Context, tx *sql.Tx) (gaps []gap, err error) {
	var from int64
	if err := tx.QueryRowContext(ctx, "SELECT low_water FROM outbox").Scan(&from); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT first_key, last_key FROM upload_checkpoints
		WHERE state IN ('sending', 'accepted', 'requeued') ORDER BY first_key`)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	for rows.Next() {
		var first, last int64
		if err := rows.Scan(&first, &last); err != nil {
			return nil, err
		}
		if from < first {
			gaps = append(gaps, gap{from, first - 1})
		}
		from = max(from, min(last, math.MaxInt64-1)+1)
	}
	return append(gaps, gap{from, math.MaxInt64}), rows.Err()
}

// dropPending deletes up to limit pending rows of a gap, oldest first, and adds
// their keys; text is how many of them were texts.
func dropPending(ctx context.Context, tx *sql.Tx, g gap, limit int, keys *KeySet) (text int64, err error) {
	rows, err := tx.QueryContext(ctx, `DELETE FROM metrics WHERE dedup_key IN (
		SELECT dedup_key FROM metrics WHERE dedup_key BETWEEN ? AND ? AND uploaded = 0 ORDER BY dedup_key LIMIT ?)
		RETURNING dedup_key, value IS NULL`, g.first, g.last, limit)
	if err != nil {
		return 0, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	for rows.Next() {
		var k, isText int64
		if err := rows.Scan(&k, &isText); err != nil {
			return 0, err
		}
		*keys = append(*keys, Key(k))
		text += isText
	}
	return text, rows.Err()
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
