package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Prune deletes up to limit delivered rows older than before, oldest first, and
// returns how many; 0 = there is nothing more to delete. It never touches a row
// that is pending, or that belongs to a chunk whose fate is open. Behind such a one
// it goes by chunk: those that are verified hold up nobody. The chunks' records
// go with their rows.
func (ob *Outbox) Prune(ctx context.Context, before time.Time, limit int) (n int, err error) {
	end := min(max(before.UnixMilli(), 0), MaxTimestampMS) << seriesBits
	err = ob.w.tx(ctx, unsynced, func(ctx context.Context, tx *sql.Tx) error {
		proven, err := provenBelow(ctx, tx)
		if err != nil {
			return err
		}
		if n, err = deleteOldest(ctx, tx, min(end, int64(proven)), limit); err != nil || n > 0 {
			return err
		}
		n, err = freeChunk(ctx, tx, end)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	return n, nil
}

// provenBelow returns the key below which every row is delivered and proven:
// all is done below the low-water mark, and proven below the first open chunk. A
// row that is not keeps the others of its millisecond in the file: the server's
// count of that time must find the same rows to be compared with.
func provenBelow(ctx context.Context, tx *sql.Tx) (k Key, err error) {
	err = tx.QueryRowContext(ctx, `SELECT min(
		iif(EXISTS (SELECT 1 FROM metrics WHERE dedup_key >= low_water), low_water >> 22 << 22, low_water),
		coalesce((SELECT min(first_key) >> 22 << 22 FROM upload_checkpoints
			WHERE state IN ('sending', 'accepted', 'requeued')), low_water)) FROM outbox`).Scan(&k)
	return k, err
}

// deleteOldest deletes up to limit delivered rows below end, oldest first, with the
// chunks' records that only they needed, and books them.
func deleteOldest(ctx context.Context, tx *sql.Tx, end int64, limit int) (n int, err error) {
	var text, first, last int64
	err = tx.QueryRowContext(ctx, `SELECT count(*), count(*) - count(value), coalesce(min(dedup_key), 0), coalesce(max(dedup_key), 0)
		FROM (SELECT dedup_key, value FROM metrics WHERE dedup_key < ? ORDER BY dedup_key LIMIT ?)`, end, limit).
		Scan(&n, &text, &first, &last)
	if err != nil || n == 0 {
		return n, err
	}
	if err := bookLeaving(ctx, tx, Key(first), Key(last), int64(n), +1); err != nil {
		return n, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM metrics WHERE dedup_key BETWEEN ? AND ?", first, last); err != nil {
		return n, err
	}
	if err := bookPruned(ctx, tx, Key(last), int64(n)-text, text); err != nil {
		return n, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM upload_checkpoints WHERE state IN ('verified', 'rejected')
		AND last_key < coalesce((SELECT min(dedup_key) FROM metrics), ?)`, end)
	return n, err
}

// bookPruned books delivered rows that were deleted; last is the greatest key.
func bookPruned(ctx context.Context, tx *sql.Tx, last Key, numbers, texts int64) error {
	if err := book(ctx, tx, accountVerified, numbers); err != nil {
		return err
	}
	if err := book(ctx, tx, accountText, texts); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO ledger (account, samples) VALUES (?, ?)
		ON CONFLICT (account) DO UPDATE SET samples = max(samples, excluded.samples)`, accountPruned, int64(last))
	return err
}

// PrunedThrough returns the greatest key of a delivered row that was deleted; 0 if
// none was. Counts of the server over a time up to there cannot be compared with
// the file.
func (ob *Outbox) PrunedThrough(ctx context.Context) (k Key, err error) {
	err = ob.db.QueryRowContext(ctx, "SELECT coalesce(max(samples), 0) FROM ledger WHERE account = ?", accountPruned).Scan(&k)
	if err != nil {
		return 0, fmt.Errorf("read ledger: %w", classify(err))
	}
	return k, nil
}
