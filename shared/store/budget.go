package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
)

// Freed says what was deleted to keep the file within its budget.
type Freed struct {
	Verified    int // proven rows younger than the retention
	Unproven    int // rows that were answered 2xx and not read back: most likely delivered, and counted
	Pending     int // rows that were never delivered: lost, and counted
	DeadLetters int
	More        bool // it was much, and there is more to do: call again
}

// budgetRows is the size of one delete, as for pruning. After budgetSteps of them
// the caller may look after other things.
const (
	budgetRows  = 5000
	budgetSteps = 10
)

// DataSize returns how many bytes of the database file hold data. The file does
// not shrink when rows go: its free pages are used again first.
func (f *file) DataSize(ctx context.Context) (bytes int64, err error) {
	return dataSize(ctx, f.db)
}

func dataSize(ctx context.Context, q querier) (bytes int64, err error) {
	err = scan(q.QueryRowContext(ctx, `SELECT (p.page_count - f.freelist_count) * s.page_size
		FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s`), &bytes)
	if err != nil {
		return 0, fmt.Errorf("read size of the data: %w", classify(err))
	}
	return bytes, nil
}

// EnforceBudget deletes until the data takes at most maxBytes: proven rows
// first, then accepted ones that were not read back, by chunk, then the oldest
// pending ones that are not under way, then the oldest dead letters. What was never
// sent is booked as dropped for "size", what was not proven for "unproven".
func (ob *Outbox) EnforceBudget(ctx context.Context, maxBytes int64) (Freed, error) {
	return enforceBudget(ctx, ob.w, ob.db, maxBytes, "size", false)
}

// FreeProven is EnforceBudget that deletes nothing but proven rows.
func (ob *Outbox) FreeProven(ctx context.Context, maxBytes int64) (Freed, error) {
	return enforceBudget(ctx, ob.w, ob.db, maxBytes, "", true)
}

// EnforceBudget is the Outbox's, for collectord while shipperd does not run: a shipper that
// has just read the rows would send what is dropped here. It is booked as dropped
// for "unattended".
func (in *Inserter) EnforceBudget(ctx context.Context, maxBytes int64) (Freed, error) {
	return enforceBudget(ctx, in.w, in.db, maxBytes, "unattended", false)
}

func enforceBudget(ctx context.Context, w *writer, db *sql.DB, maxBytes int64, reason string, proven bool) (freed Freed, err error) {
	for range budgetSteps {
		size, err := dataSize(ctx, db)
		if err != nil || size <= maxBytes {
			return freed, err
		}
		step, err := freeStep(ctx, w, reason, proven)
		if err != nil {
			return freed, fmt.Errorf("keep within storage.max_size_mb: %w", err)
		}
		if step == (Freed{}) {
			return freed, nil // what is left is under way, or the schema itself
		}
		freed.Verified += step.Verified
		freed.Unproven += step.Unproven
		freed.Pending += step.Pending
		freed.DeadLetters += step.DeadLetters
	}
	freed.More = true
	return freed, nil
}

// freeStep deletes up to budgetRows of what is worth least, in one transaction.
func freeStep(ctx context.Context, w *writer, reason string, proven bool) (freed Freed, err error) {
	err = w.tx(ctx, unsynced, func(ctx context.Context, tx execer) (err error) {
		if freed, err = freeLeast(ctx, tx, reason, proven); err != nil || freed == (Freed{}) {
			return err
		}
		return dropEpochs(ctx, tx)
	})
	if err != nil {
		return Freed{}, err
	}
	return freed, nil
}

func freeLeast(ctx context.Context, tx execer, reason string, proven bool) (freed Freed, err error) {
	if freed.Verified, err = freeVerified(ctx, tx); err != nil || freed.Verified > 0 {
		return freed, err
	}
	if freed.Verified, err = freeChunk(ctx, tx, allKeys); err != nil || freed.Verified > 0 || proven {
		return freed, err
	}
	if freed.Unproven, err = freeAccepted(ctx, tx); err != nil || freed.Unproven > 0 {
		return freed, err
	}
	if freed.Pending, err = freePending(ctx, tx, reason); err != nil || freed.Pending > 0 {
		return freed, err
	}
	freed.DeadLetters, err = freeDeadLetters(ctx, tx)
	return freed, err
}

func freeVerified(ctx context.Context, tx execer) (int, error) {
	safe, err := provenBelow(ctx, tx)
	if err != nil {
		return 0, err
	}
	return deleteOldest(ctx, tx, KeyRange{0, safe - 1}, budgetRows)
}

// freeChunk deletes the rows and the record of the oldest verified chunk of a range,
// where an older chunk that is still open keeps deleteOldest from it.
func freeChunk(ctx context.Context, tx execer, of KeyRange) (int, error) {
	keys, err := deleteChunk(ctx, tx, Verified, of)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	return len(keys), bookPruned(ctx, tx, KeyRange{keys[0], keys[len(keys)-1]}, int64(len(keys)), 0)
}

// freeAccepted deletes the rows and the record of the oldest chunk that was answered
// 2xx and not read back.
func freeAccepted(ctx context.Context, tx execer) (int, error) {
	keys, err := deleteChunk(ctx, tx, Accepted, allKeys)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	// The server may have them: counts over that time cannot be compared any more.
	if err := bookPruned(ctx, tx, KeyRange{keys[0], keys[len(keys)-1]}, 0, 0); err != nil {
		return 0, err
	}
	return len(keys), book(ctx, tx, accountDropped+"unproven", int64(len(keys)))
}

// deleteChunk deletes the record of the oldest chunk in a state with all its rows in a
// range, and those rows; it returns their keys. Chunks of which no row is left are passed
// over.
func deleteChunk(ctx context.Context, tx execer, state ChunkState, of KeyRange) (KeySet, error) {
	for {
		var id int64
		var p packedKeys
		err := tx.QueryRowContext(ctx, "SELECT id, "+keyColumns+" FROM upload_checkpoints WHERE state = ? AND first_key >= ? AND last_key <= ? ORDER BY first_key LIMIT 1",
			state, int64(of.From), int64(of.To)).Scan(&id, &p.packed, &p.count, &p.first, &p.last)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		keys, err := p.keys()
		if err != nil {
			return nil, fmt.Errorf("chunk %d: %w", id, err)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM upload_checkpoints WHERE id = ?", id); err != nil {
			return nil, err
		}
		if keys, err = deleteDelivered(ctx, tx, keys); err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			return keys, bookUnbooked(ctx, tx, keys)
		}
	}
}

// deleteDelivered deletes those rows that are in the file, and returns their keys.
func deleteDelivered(ctx context.Context, tx execer, keys KeySet) (deleted KeySet, err error) {
	deleted, err = all(ctx, tx, scanOne[Key], `DELETE FROM metrics WHERE dedup_key IN (SELECT value FROM json_each(?)) AND uploaded = 1
		RETURNING dedup_key`, keys.json())
	return deleted.Sorted(), err
}

// bookUnbooked books those keys as inserted that the inserter has not booked yet;
// their rows are deleted.
func bookUnbooked(ctx context.Context, tx execer, keys KeySet) error {
	through, err := readThrough(ctx, tx)
	if err != nil {
		return err
	}
	var unbooked int64
	for _, k := range keys {
		if k > through {
			unbooked++
		}
	}
	return book(ctx, tx, accountInserted, unbooked)
}

// freePending drops rows that no open chunk spans: those under way are few, and
// the server may already have them.
func freePending(ctx context.Context, tx execer, reason string) (n int, err error) {
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
	if err := bookUnbooked(ctx, tx, keys); err != nil {
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
func gapsBetweenOpen(ctx context.Context, tx execer) (gaps []gap, err error) {
	var from int64
	if err := scan(tx.QueryRowContext(ctx, "SELECT low_water FROM outbox"), &from); err != nil {
		return nil, err
	}
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var first, last int64
		err := rows.Scan(&first, &last)
		if from < first {
			gaps = append(gaps, gap{from, first - 1})
		}
		from = max(from, min(last, math.MaxInt64-1)+1)
		return err
	}, `SELECT first_key, last_key FROM upload_checkpoints WHERE state IN ('sending', 'accepted', 'requeued') ORDER BY first_key`)
	return append(gaps, gap{from, math.MaxInt64}), err
}

// dropPending deletes up to limit pending rows of a gap, oldest first, and adds
// their keys; text is how many of them were texts.
func dropPending(ctx context.Context, tx execer, g gap, limit int, keys *KeySet) (text int64, err error) {
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var k Key
		var isText int64
		err := rows.Scan(&k, &isText)
		*keys = append(*keys, k)
		text += isText
		return err
	}, `DELETE FROM metrics WHERE dedup_key IN (
		SELECT dedup_key FROM metrics WHERE dedup_key BETWEEN ? AND ? AND uploaded = 0 ORDER BY dedup_key LIMIT ?)
		RETURNING dedup_key, value IS NULL`, g.first, g.last, limit)
	return text, err
}

func freeDeadLetters(ctx context.Context, tx execer) (int, error) {
	n, err := exec(ctx, tx, "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY id LIMIT ?)", budgetRows)
	if err != nil {
		return 0, err
	}
	return int(n), book(ctx, tx, accountRejected, n)
}
