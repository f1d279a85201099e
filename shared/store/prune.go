package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Prune deletes up to limit delivered rows older than before, oldest first, and
// returns how many; 0 = there is nothing more to delete. It never touches a row
// that is pending, or that belongs to a chunk whose fate is open. Behind such a one
// it goes by chunk: those that are verified hold up nobody. The chunks' records
// go with their rows.
func (ob *Outbox) Prune(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = ob.w.tx(ctx, unsynced, func(ctx context.Context, tx execer) error {
		t, err := readTimeline(ctx, tx)
		if err != nil {
			return err
		}
		proven, err := provenBelow(ctx, tx)
		if err != nil {
			return err
		}
		old := t.Ranges(math.MinInt64/2, before.UnixMilli()-1)
		for _, r := range old {
			if n, err = deleteOldest(ctx, tx, KeyRange{r.From, min(r.To, proven-1)}, limit); err != nil {
				return err
			}
			if n > 0 {
				return dropEpochs(ctx, tx)
			}
		}
		for _, r := range old {
			if n, err = freeChunk(ctx, tx, r); err != nil {
				return err
			}
			if n > 0 {
				return dropEpochs(ctx, tx)
			}
		}
		return nil
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
func provenBelow(ctx context.Context, tx execer) (k Key, err error) {
	err = scan(tx.QueryRowContext(ctx, `SELECT min(
		iif(EXISTS (SELECT 1 FROM metrics WHERE dedup_key >= low_water), low_water >> 22 << 22, low_water),
		coalesce((SELECT min(first_key) >> 22 << 22 FROM upload_checkpoints
			WHERE state IN ('sending', 'accepted', 'requeued')), low_water)) FROM outbox`), &k)
	return k, err
}

// deleteOldest deletes up to limit delivered rows of a range, oldest first, with the
// chunks' records that only they needed, and books them.
func deleteOldest(ctx context.Context, tx execer, of KeyRange, limit int) (n int, err error) {
	var text, first, last int64
	err = scan(tx.QueryRowContext(ctx, `SELECT count(*), count(*) - count(value), coalesce(min(dedup_key), 0), coalesce(max(dedup_key), 0)
		FROM (SELECT dedup_key, value FROM metrics WHERE dedup_key BETWEEN ? AND ? ORDER BY dedup_key LIMIT ?)`, int64(of.From), int64(of.To), limit), &n, &text, &first, &last)
	if err != nil || n == 0 {
		return n, err
	}
	if err := bookLeaving(ctx, tx, Key(first), Key(last), int64(n), +1); err != nil {
		return n, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM metrics WHERE dedup_key BETWEEN ? AND ?", first, last); err != nil {
		return n, err
	}
	if err := bookPruned(ctx, tx, KeyRange{0, Key(last)}, int64(n)-text, text); err != nil {
		return n, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM upload_checkpoints WHERE state IN ('verified', 'rejected')
		AND last_key <= ? AND NOT EXISTS (SELECT 1 FROM metrics WHERE dedup_key BETWEEN first_key AND last_key)`, int64(of.To))
	return n, err
}

// bookPruned books delivered rows that were deleted, and where they were: from 0 on if all rows up
// to there were delivered.
func bookPruned(ctx context.Context, tx execer, of KeyRange, numbers, texts int64) error {
	if err := book(ctx, tx, accountVerified, numbers); err != nil {
		return err
	}
	if err := book(ctx, tx, accountText, texts); err != nil {
		return err
	}
	p, err := readPruned(ctx, tx)
	if err != nil {
		return err
	}
	if of.From == 0 {
		p.below = max(p.below, of.To)
	} else {
		p.from = min(p.from, of.From)
	}
	p.through = max(p.through, of.To)
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO ledger (account, samples) VALUES (?, ?), (?, ?), (?, ?)",
		accountPruned, int64(p.through), accountPrunedBelow, int64(p.below), accountPrunedFrom, int64(p.from))
	return err
}

// pruned is where delivered rows were deleted: up to below, and between from and through.
type pruned struct{ below, from, through Key }

// readPruned reads them. A file of an older version has through only.
func readPruned(ctx context.Context, q querier) (p pruned, err error) {
	err = scan(q.QueryRowContext(ctx, `SELECT through, coalesce((SELECT samples FROM ledger WHERE account = ?), through),
		coalesce((SELECT samples FROM ledger WHERE account = ?), 0)
		FROM (SELECT coalesce(max(samples), 0) AS through FROM ledger WHERE account = ?)`,
		accountPrunedBelow, accountPrunedFrom, accountPruned), &p.through, &p.below, &p.from)
	if p.below >= p.through {
		p.from = math.MaxInt64 // there is no second span
	}
	return p, err
}

func (p pruned) overlaps(r KeyRange) bool {
	return r.From <= p.below || r.From <= p.through && p.from <= r.To
}

// Pruned reports whether delivered rows of the ranges may have been deleted. Counts of the server
// over that time cannot be compared with the file.
func (ob *Outbox) Pruned(ctx context.Context, ranges ...KeyRange) (bool, error) {
	p, err := readPruned(ctx, ob.db)
	if err != nil {
		return false, fmt.Errorf("read ledger: %w", classify(err))
	}
	return slices.ContainsFunc(ranges, p.overlaps), nil
}

// Delivered reports whether there are, or may have been, rows of a range that are done. No row of
// it is pending.
func (ob *Outbox) Delivered(ctx context.Context, r KeyRange) (bool, error) {
	if done, err := ob.Pruned(ctx, r); err != nil || done {
		return done, err
	}
	rows, err := ob.States(ctx, r.From, r.To, 1)
	return len(rows) > 0, err
}
