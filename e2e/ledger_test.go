package e2e

import (
	"database/sql"
	"fmt"
)

// ledger is what became of every sample of the file, counted here once more in
// plain SQL and not by the code under test.
type ledger struct{ inserted, pending, accepted, verified, rejected, dropped, unsendable int }

func (l ledger) String() string {
	return fmt.Sprintf("inserted %d = pending %d + accepted %d + verified %d + rejected %d + dropped %d + not sendable %d",
		l.inserted, l.pending, l.accepted, l.verified, l.rejected, l.dropped, l.unsendable)
}

func (l ledger) difference() int {
	return l.inserted - l.pending - l.accepted - l.verified - l.rejected - l.dropped - l.unsendable
}

func (r *rig) ledger() (l ledger) {
	r.t.Helper()
	// One statement sees one moment.
	const text = `WITH booked(account, n) AS (SELECT account, samples FROM ledger)
	SELECT (SELECT n FROM booked WHERE account = 'inserted')
	     + (SELECT count(*) FROM metrics WHERE dedup_key > (SELECT n FROM booked WHERE account = 'inserted_through')),
	       (SELECT count(*) FROM metrics WHERE uploaded = 0),
	       (SELECT coalesce(sum(sample_count), 0) FROM upload_checkpoints WHERE state = 'accepted'),
	       (SELECT count(*) FROM metric_rows WHERE uploaded = 1 AND value_type = 0)
	     - (SELECT coalesce(sum(sample_count), 0) FROM upload_checkpoints WHERE state = 'accepted')
	     + (SELECT coalesce(sum(n), 0) FROM booked WHERE account = 'verified_pruned'),
	       (SELECT count(*) FROM dead_letters) + (SELECT coalesce(sum(n), 0) FROM booked WHERE account = 'rejected_pruned'),
	       (SELECT coalesce(sum(n), 0) FROM booked WHERE account LIKE 'dropped:%'),
	       (SELECT count(*) FROM metric_rows WHERE uploaded = 1 AND value_type = 1)
	     + (SELECT coalesce(sum(n), 0) FROM booked WHERE account = 'text_pruned')`
	r.query(text, func(rows *sql.Rows) error {
		return rows.Scan(&l.inserted, &l.pending, &l.accepted, &l.verified, &l.rejected, &l.dropped, &l.unsendable)
	})
	return l
}

// checkFile checks that the accounts add up and that the file is whole.
func (r *rig) checkFile() {
	r.t.Helper()
	if l := r.ledger(); l.difference() != 0 {
		r.t.Errorf("the ledger does not add up: %v; difference %d", l, l.difference())
	}
	r.query("PRAGMA integrity_check", func(rows *sql.Rows) error {
		var verdict string
		if err := rows.Scan(&verdict); err != nil {
			return err
		}
		if verdict != "ok" {
			r.t.Errorf("integrity_check: %s", verdict)
		}
		return nil
	})
}
