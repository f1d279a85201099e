package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/google/uuid"
)

// During a repair, metrics.uploaded has more values than 0 and 1: the state that a chunk's record
// gives its rows.
const (
	markOwed   = 10 // of a chunk that is sending or requeued
	markTaken  = 11 // of a chunk that is accepted
	markProven = 12 // of a chunk that is verified
)

// doubtRows is the size of the chunks that hold the rows to be asked for: a body of
// them stays below the least limit of remote.max_chunk_bytes worth having.
const doubtRows = 5000

// repair makes salvaged rows, chunks and accounts fit each other.
func (s *salvager) repair(ctx context.Context) error {
	// A row without its series cannot be delivered.
	if _, err := exec(ctx, s.tx, "DELETE FROM metrics WHERE dedup_key <= ? OR dedup_key & 4194303 NOT IN (SELECT id FROM series)", MaxSeries); err != nil {
		return err
	}
	if _, err := exec(ctx, s.tx, "UPDATE metrics SET uploaded = 0 WHERE uploaded NOT IN (0, 1)"); err != nil {
		return err
	}
	m := &marker{tx: s.tx, now: s.o.Now()}
	missing, err := m.chunks(ctx)
	if err != nil {
		return err
	}
	if s.report.Asked, err = m.gather(ctx, 0, Sending); err != nil {
		return err
	}
	// Any record of a chunk may be lost: rows without a record are read back.
	if _, err := m.gather(ctx, 1, Accepted); err != nil {
		return err
	}
	if err := m.unmark(ctx); err != nil {
		return err
	}
	if _, err := exec(ctx, s.tx, `INSERT OR REPLACE INTO outbox VALUES (1, coalesce((SELECT min(dedup_key) FROM metrics WHERE uploaded = 0),
		(SELECT max(dedup_key) + 1 FROM metrics), 0))`); err != nil {
		return err
	}
	if err := s.balance(ctx, missing); err != nil {
		return err
	}
	for query, n := range map[string]*int64{
		"SELECT count(*) FROM metrics":                    &s.report.Rows,
		"SELECT count(*) FROM metrics WHERE uploaded = 0": &s.report.Pending,
		"SELECT count(*) FROM dead_letters":               &s.report.DeadLetters,
		"SELECT count(*) FROM upload_checkpoints":         &s.report.Chunks,
	} {
		if err := s.tx.QueryRowContext(ctx, query).Scan(n); err != nil {
			return err
		}
	}
	return nil
}

// marker settles what rows are owed, in one transaction.
type marker struct {
	tx  *sql.Tx
	now time.Time
}

// chunks brings rows and records of chunks together: an open chunk names the rows
// that are there and that no other open one has; the rows are what its state says.
// missing is how many rows of verified chunks are gone, the pruned ones left out.
func (m *marker) chunks(ctx context.Context) (missing int64, err error) {
	var oldest int64
	if err := m.tx.QueryRowContext(ctx, "SELECT coalesce(min(dedup_key), 0) FROM metrics").Scan(&oldest); err != nil {
		return 0, err
	}
	for _, of := range []struct {
		states string
		mark   int
	}{{"'accepted'", markTaken}, {"'sending', 'requeued'", markOwed}, {"'verified'", markProven}} {
		ids, err := all(ctx, m.tx, scanOne[int64], "SELECT id FROM upload_checkpoints WHERE state IN ("+of.states+") ORDER BY id")
		if err != nil {
			return 0, err
		}
		for _, id := range ids {
			keys, ok, err := m.keys(ctx, id)
			if err != nil {
				return 0, err
			}
			there, err := m.mark(ctx, keys, of.mark)
			if err != nil {
				return 0, err
			}
			if of.mark == markProven && ok {
				past, _ := slices.BinarySearch(keys, Key(oldest))
				missing += int64(len(keys) - past - len(there))
				there = keys
			}
			if err := m.name(ctx, id, there); err != nil {
				return 0, err
			}
		}
	}
	return missing, nil
}

// keys reads the row keys of a chunk; ok is false, and the record gone, when they
// make no sense.
func (m *marker) keys(ctx context.Context, id int64) (keys KeySet, ok bool, err error) {
	var packed []byte
	if err := m.tx.QueryRowContext(ctx, "SELECT row_keys FROM upload_checkpoints WHERE id = ?", id).Scan(&packed); err != nil {
		return nil, false, err
	}
	keys, decodeErr := decodeKeySet(packed)
	if decodeErr != nil {
		_, err = exec(ctx, m.tx, "DELETE FROM upload_checkpoints WHERE id = ?", id)
		return nil, false, err
	}
	return keys, true, nil
}

// mark marks the rows of a chunk that are there and that no other has, and returns
// them.
func (m *marker) mark(ctx context.Context, keys KeySet, mark int) (there KeySet, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	there, err = all(ctx, m.tx, scanOne[Key], "UPDATE metrics SET uploaded = ? WHERE dedup_key IN (SELECT value FROM json_each(?)) AND uploaded < ? RETURNING dedup_key",
		mark, keys.json(), markOwed)
	return there.Sorted(), err
}

// name makes a chunk name these rows: fewer, mostly, and the numbers beside them may
// be as damaged as anything. Without any it goes.
func (m *marker) name(ctx context.Context, id int64, keys KeySet) (err error) {
	if len(keys) == 0 {
		_, err = exec(ctx, m.tx, "DELETE FROM upload_checkpoints WHERE id = ?", id)
		return err
	}
	_, err = exec(ctx, m.tx, "UPDATE upload_checkpoints SET first_key = ?, last_key = ?, row_keys = ?, sample_count = ? WHERE id = ?",
		int64(keys[0]), int64(keys[len(keys)-1]), keys.encode(), len(keys), id)
	return err
}

// unmark takes the marks away.
func (m *marker) unmark(ctx context.Context) error {
	_, err := exec(ctx, m.tx, "UPDATE metrics SET uploaded = uploaded <> ? WHERE uploaded >= ?", markOwed, markOwed)
	return err
}

// gather records chunks of the numbers whose mark is uploaded, oldest first.
func (m *marker) gather(ctx context.Context, uploaded int, state ChunkState) (n int64, err error) {
	batch, now := uuid.NewString(), m.now.UnixMilli()
	var accepted any
	if state == Accepted {
		accepted = now
	}
	from := int64(0)
	for index := 0; ; index++ {
		found, err := all(ctx, m.tx, scanOne[Key], "SELECT dedup_key FROM metrics WHERE dedup_key > ? AND uploaded = ? AND value IS NOT NULL ORDER BY dedup_key LIMIT ?",
			from, uploaded, doubtRows)
		if err != nil || len(found) == 0 {
			return n, err
		}
		keys := KeySet(found)
		from = int64(keys[len(keys)-1])
		n += int64(len(keys))
		if _, err := exec(ctx, m.tx, `INSERT INTO upload_checkpoints
			(batch_id, chunk_index, state, first_key, last_key, row_keys, sample_count, bytes, content_hash, created_ms, attempted_ms, accepted_ms)
			VALUES (?,?,?,?,?,?,?,0,x'',?,?,?)`,
			batch, index, state, int64(keys[0]), from, keys.encode(), len(keys), now, now, accepted); err != nil {
			return n, err
		}
	}
}

// balance makes the ledger add up: what was inserted stays, what is missing from
// the sum is lost. provenLost is how many of those the server has at most.
func (s *salvager) balance(ctx context.Context, provenLost int64) error {
	var inserted, through sql.NullInt64
	var unbooked, sum int64
	err := s.tx.QueryRowContext(ctx, `SELECT
		(SELECT samples FROM ledger WHERE account = ?1), (SELECT samples FROM ledger WHERE account = ?2),
		(SELECT count(*) FROM metrics WHERE dedup_key > coalesce((SELECT samples FROM ledger WHERE account = ?2), 0)),
		(SELECT count(*) FROM metrics) + (SELECT count(*) FROM dead_letters)
			+ (SELECT coalesce(sum(samples), 0) FROM ledger WHERE account NOT IN (?1, ?2, ?3))`,
		accountInserted, accountThrough, accountPruned).Scan(&inserted, &through, &unbooked, &sum)
	if err != nil {
		return err
	}
	total := inserted.Int64 + unbooked
	if s.report.LedgerLost = !inserted.Valid || !through.Valid; s.report.LedgerLost {
		total = sum
	}
	lost := max(0, total-sum)
	total = max(total, sum) // a row that came back is one that was inserted
	s.report.LostProven = min(lost, provenLost)
	s.report.Lost = lost - s.report.LostProven
	if err := book(ctx, s.tx, accountVerified, s.report.LostProven); err != nil {
		return err
	}
	if err := book(ctx, s.tx, accountDropped+reasonDamaged, s.report.Lost); err != nil {
		return err
	}
	_, err = exec(ctx, s.tx, `INSERT OR REPLACE INTO ledger VALUES (?, ?), (?, coalesce((SELECT max(dedup_key) | 4194303 FROM metrics), ?))`,
		accountInserted, total, accountThrough, through.Int64)
	if err != nil || s.report.Lost == 0 {
		return err
	}
	// collectord's own total, which goes on from what it finds here.
	_, err = exec(ctx, s.tx, `INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('collectord', 'storage.metrics_dropped_total', ?, 'counter', ?, ?)
		ON CONFLICT DO UPDATE SET value = value + excluded.value`,
		CanonicalTags([]Tag{{"reason", reasonDamaged}}), float64(s.report.Lost), s.o.Now().UnixMilli())
	return err
}

// reasonDamaged is why samples were dropped that a damaged file has lost.
const reasonDamaged = "damaged"

// readBackPending is the repair of a file that is whole and older than what was
// sent: every pending row is read back before it is sent.
func readBackPending(ctx context.Context, db *sql.DB, now time.Time) (asked int64, err error) {
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	m := &marker{tx: tx, now: now}
	open, err := all(ctx, tx, scanOne[int64], "SELECT id FROM upload_checkpoints WHERE state IN ('sending', 'requeued') ORDER BY id")
	if err != nil {
		return 0, err
	}
	for _, id := range open {
		keys, _, err := m.keys(ctx, id)
		if err != nil {
			return 0, err
		}
		if _, err := m.mark(ctx, keys, markOwed); err != nil {
			return 0, err
		}
	}
	if asked, err = m.gather(ctx, 0, Sending); err != nil {
		return 0, err
	}
	if err := m.unmark(ctx); err != nil {
		return 0, err
	}
	return asked, tx.Commit()
}
