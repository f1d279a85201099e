package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Accounts of table ledger. All but the first three are samples whose rows are
// gone; every transaction that deletes a row books it.
const (
	// accountInserted counts every sample ever inserted, up to accountThrough.
	accountInserted = "inserted"
	// accountThrough is no count: it is the key up to which inserted rows are in
	// accountInserted. The rows above it are counted on request, so that a
	// tick need not write the ledger's page.
	accountThrough = "inserted_through"

	// accountPruned is no count either: it is the greatest key that a delivered row
	// had when it was deleted. At and below it the server has samples that the file
	// no longer has.
	accountPruned = "pruned_through"
	// accountPrunedBelow is the same of rows below which all were delivered. Others were deleted by
	// chunk, from key accountPrunedFrom on.
	accountPrunedBelow = "pruned_below"
	accountPrunedFrom  = "pruned_from"

	accountVerified = "verified_pruned" // proven, then deleted by age or size
	accountText     = "text_pruned"     // texts are never shipped
	accountRejected = "rejected_pruned" // dead letters deleted by size
	accountDropped  = "dropped:"        // never delivered; the reason follows
)

// mostSamples is what no account reaches: a million samples each second for 35 years. Thousands of
// such numbers can be added.
const mostSamples = 1 << 50

// book adds n samples to an account, in the transaction that removes their rows.
func book(ctx context.Context, tx execer, account string, n int64) error {
	if n == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO ledger (account, samples) VALUES (?, ?)
		ON CONFLICT (account) DO UPDATE SET samples = samples + excluded.samples`, account, n)
	return err
}

// Ledger says what became of every sample that was ever inserted.
type Ledger struct {
	Inserted int64 // counted by the inserter

	Pending    int64            // rows with uploaded = 0
	Accepted   int64            // answered 2xx, not yet read back
	Verified   int64            // read back, in the file or pruned
	Rejected   int64            // dead letters
	Dropped    map[string]int64 // by reason
	Unsendable int64            // texts, in the file or pruned
}

// Difference is what Inserted lacks of the sum of the others: 0, always.
func (l Ledger) Difference() int64 {
	sum := l.Pending + l.Accepted + l.Verified + l.Rejected + l.Unsendable
	for _, n := range l.Dropped {
		sum += n
	}
	return sum - l.Inserted
}

// queryLedger is one statement, so that it sees one moment, and reads the table once.
const queryLedger = `SELECT
	(SELECT json_group_object(account, samples) FROM ledger),
	(SELECT count(*) FROM metrics WHERE dedup_key > (SELECT samples FROM ledger WHERE account = 'inserted_through')),
	count(*) - coalesce(sum(uploaded), 0), coalesce(sum(uploaded), 0), count(*) FILTER (WHERE value IS NULL AND uploaded = 1),
	(SELECT count(*) FROM dead_letters),
	(SELECT coalesce(sum(sample_count), 0) FROM upload_checkpoints WHERE state = 'accepted')
	FROM metrics`

// Ledger adds the accounts up. It counts the rows of the file, which takes a
// moment on a large one: a second for ten million rows on a PC.
func (r *Reader) Ledger(ctx context.Context) (l Ledger, err error) {
	var accounts string
	var unbooked, uploaded, text, deadLetters int64
	err = scan(r.db.QueryRowContext(ctx, queryLedger), &accounts, &unbooked, &l.Pending, &uploaded, &text, &deadLetters, &l.Accepted)
	if err != nil {
		return l, fmt.Errorf("read ledger: %w", classify(err))
	}
	var booked map[string]int64
	if err := json.Unmarshal([]byte(accounts), &booked); err != nil {
		return l, fmt.Errorf("read ledger: %w", err)
	}
	l.Inserted = booked[accountInserted] + unbooked
	l.Unsendable = booked[accountText] + text
	l.Rejected = booked[accountRejected] + deadLetters
	l.Verified = booked[accountVerified] + uploaded - text - l.Accepted
	l.Dropped = map[string]int64{}
	for account, n := range booked {
		if reason, dropped := strings.CutPrefix(account, accountDropped); dropped {
			l.Dropped[reason] = n
		}
	}
	return l, nil
}

// bookTick brings accountInserted up to date within a tick's transaction and
// returns the new accountThrough. To spare the ledger's page it does so with
// synced ticks only, for all rows above the mark; samples with a time of their own,
// at or below it, are booked by themselves.
func bookTick(ctx context.Context, tx execer, through Key, ms int64, inserted int, synced bool) (Key, error) {
	if ms <= through.TimestampMS() {
		return through, book(ctx, tx, accountInserted, int64(inserted))
	}
	if !synced {
		return through, nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE ledger SET samples = CASE account
		WHEN 'inserted' THEN samples + (SELECT count(*) FROM metrics WHERE dedup_key > ?1)
		ELSE (SELECT max(dedup_key) FROM metrics) | 4194303 END
		WHERE account IN ('inserted', 'inserted_through')`, int64(through))
	if err != nil {
		return through, err
	}
	return readThrough(ctx, tx)
}

// readThrough reads accountThrough, which the inserter alone changes.
func readThrough(ctx context.Context, q querier) (through Key, err error) {
	err = scan(q.QueryRowContext(ctx, "SELECT samples FROM ledger WHERE account = ?", accountThrough), &through)
	return through, err
}

// bookLeaving books rows as inserted that leave the table before the inserter
// has booked them; sign -1 is for a row that comes back.
func bookLeaving(ctx context.Context, tx execer, first, last Key, n, sign int64) error {
	through, err := readThrough(ctx, tx)
	if err != nil || last <= through {
		return err
	}
	if first <= through {
		err := scan(tx.QueryRowContext(ctx, "SELECT count(*) FROM metrics WHERE dedup_key > ? AND dedup_key <= ?", int64(through), int64(last)), &n)
		if err != nil {
			return err
		}
	}
	return book(ctx, tx, accountInserted, sign*n)
}
