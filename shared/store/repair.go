package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
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
	// And its id will be another's.
	gone, err := exec(ctx, s.tx, "DELETE FROM metrics WHERE dedup_key <= ? OR dedup_key & 4194303 NOT IN (SELECT id FROM series)", MaxSeries)
	if err != nil {
		return err
	}
	s.skipped += gone
	if _, err := exec(ctx, s.tx, "UPDATE metrics SET uploaded = 0 WHERE uploaded NOT IN (0, 1)"); err != nil {
		return err
	}
	// Rows in front of all epochs that could be read: their keys are taken for their times.
	if _, err := exec(ctx, s.tx, `INSERT INTO epochs SELECT 0, '', 0, 0, NULL, 0, 'unconfirmed'
		WHERE coalesce((SELECT min(first_key) FROM epochs), 9223372036854775807) > coalesce((SELECT min(dedup_key) FROM metrics), 0)`); err != nil {
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
		if err := scan(s.tx.QueryRowContext(ctx, query), n); err != nil {
			return err
		}
	}
	return nil
}

// marker settles what rows are owed, in one transaction.
type marker struct {
	tx    execer
	now   time.Time
	batch string // of the chunks that it records
	index int
}

// chunks brings rows and records of chunks together: an open chunk names the rows
// that are there and that no other open one has; the rows are what its state says.
// missing is how many rows of verified chunks are gone, the pruned ones left out.
func (m *marker) chunks(ctx context.Context) (missing int64, err error) {
	var oldest int64
	if err := scan(m.tx.QueryRowContext(ctx, "SELECT coalesce(min(dedup_key), 0) FROM metrics"), &oldest); err != nil {
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
	var p packedKeys
	err = m.tx.QueryRowContext(ctx, "SELECT "+keyColumns+" FROM upload_checkpoints WHERE id = ?", id).Scan(&p.packed, &p.count, &p.first, &p.last)
	if err == nil {
		keys, err = p.keys()
	}
	if err != nil {
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

// gather records chunks of the numbers whose mark is uploaded, oldest first. A chunk has one
// offset; rows whose true time is not known have not left.
func (m *marker) gather(ctx context.Context, uploaded int, state ChunkState) (n int64, err error) {
	t, err := readTimeline(ctx, m.tx)
	if err != nil {
		return 0, err
	}
	known := t.Known()
	if known < math.MaxInt64 {
		known--
	}
	from := int64(0)
	for {
		found, err := all(ctx, m.tx, scanOne[Key], "SELECT dedup_key FROM metrics WHERE dedup_key > ? AND dedup_key <= ? AND uploaded = ? AND value IS NOT NULL ORDER BY dedup_key LIMIT ?",
			from, int64(known), uploaded, doubtRows)
		if err != nil || len(found) == 0 {
			return n, err
		}
		found = found[:t.alike(found)]
		n, from = n+int64(len(found)), int64(found[len(found)-1])
		if err := m.record(ctx, found, state); err != nil {
			return n, err
		}
	}
}

// record adds a chunk of these rows, of which it is not known what became of them.
func (m *marker) record(ctx context.Context, keys KeySet, state ChunkState) error {
	if m.batch == "" {
		m.batch = uuid.NewString()
	}
	now := m.now.UnixMilli()
	var accepted any
	if state == Accepted {
		accepted = now
	}
	_, err := exec(ctx, m.tx, `INSERT INTO upload_checkpoints
		(batch_id, chunk_index, state, first_key, last_key, row_keys, sample_count, bytes, content_hash, created_ms, attempted_ms, accepted_ms)
		VALUES (?,?,?,?,?,?,?,0,x'',?,?,?)`,
		m.batch, m.index, state, int64(keys[0]), int64(keys[len(keys)-1]), keys.encode(), len(keys), now, now, accepted)
	m.index++
	return err
}

// balance makes the ledger add up: what was inserted stays, what is missing from
// the sum is lost. provenLost is how many of those the server has at most.
func (s *salvager) balance(ctx context.Context, provenLost int64) error {
	var inserted, through sql.NullInt64
	var unbooked, sum int64
	err := scan(s.tx.QueryRowContext(ctx, `SELECT
		(SELECT samples FROM ledger WHERE account = ?1), (SELECT samples FROM ledger WHERE account = ?2),
		(SELECT count(*) FROM metrics WHERE dedup_key > coalesce((SELECT samples FROM ledger WHERE account = ?2), 0)),
		(SELECT count(*) FROM metrics) + (SELECT count(*) FROM dead_letters)
			+ (SELECT coalesce(sum(samples), 0) FROM ledger WHERE account NOT IN (?1, ?2) AND account NOT GLOB 'pruned_*')`,
		accountInserted, accountThrough), &inserted, &through, &unbooked, &sum)
	if err != nil {
		return err
	}
	total := inserted.Int64 + unbooked
	lost := total - sum
	// The smallest row has 8 bytes. An account that speaks of more than the damage can have cost,
	// or of less than is there, is damaged itself.
	most := s.skipped + (int64(s.unread.Pages)+s.unread.Missing)*int64(s.unread.PageSize/8)
	s.report.LedgerLost = s.wrong || !inserted.Valid || !through.Valid || lost < 0 || lost > most && !s.unread.WAL && !s.report.Uncounted
	if s.report.LedgerLost {
		total, lost = sum, 0
	}
	s.report.LostProven = min(lost, provenLost)
	lost -= s.report.LostProven
	if s.report.Uncounted = s.report.Uncounted || s.report.LedgerLost || s.unread.WAL; s.report.Uncounted {
		s.report.LostAtLeast = lost
	} else {
		s.report.Lost = &lost
	}
	if err := book(ctx, s.tx, accountVerified, s.report.LostProven); err != nil {
		return err
	}
	if err := book(ctx, s.tx, accountDropped+reasonDamaged, lost); err != nil {
		return err
	}
	_, err = exec(ctx, s.tx, `INSERT OR REPLACE INTO ledger VALUES (?, ?), (?, coalesce((SELECT max(dedup_key) | 4194303 FROM metrics), ?))`,
		accountInserted, total, accountThrough, through.Int64)
	if err == nil && (lost > 0 || s.report.LostProven > 0 || s.report.Uncounted) {
		// The server may have what the file has lost.
		_, err = exec(ctx, s.tx, "INSERT INTO ledger SELECT ?, max(dedup_key) FROM metrics HAVING max(dedup_key) > 0 ON CONFLICT DO UPDATE SET samples = max(samples, excluded.samples)", accountPruned)
	}
	if err != nil || lost == 0 {
		return err
	}
	// collectord's own total, which goes on from what it finds here.
	_, err = exec(ctx, s.tx, `INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('collectord', 'storage.metrics_dropped_total', ?, 'counter', ?, ?)
		ON CONFLICT DO UPDATE SET value = value + excluded.value`,
		CanonicalTags([]Tag{{"reason", reasonDamaged}}), float64(lost), s.o.Now().UnixMilli())
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
	if asked, err = (&marker{tx: tx, now: now}).doubt(ctx); err != nil {
		return 0, err
	}
	return asked, tx.Commit()
}

// doubt has every pending row that no open chunk owes read back.
func (m *marker) doubt(ctx context.Context) (asked int64, err error) {
	open, err := all(ctx, m.tx, scanOne[int64], "SELECT id FROM upload_checkpoints WHERE state IN ('sending', 'requeued') ORDER BY id")
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
	return asked, m.unmark(ctx)
}

// Mend deletes the records of chunks that make no sense, and returns how many. It is not known then
// which of their rows are at the server: rows without a record are read back.
func (ob *Outbox) Mend(ctx context.Context) (bad int, err error) {
	err = ob.w.tx(ctx, nothing, func(ctx context.Context, tx execer) error {
		var known KeySet // rows of the other records
		bad = 0
		err := each(ctx, tx, func(rows *sql.Rows) error {
			c, err := scanChunk(rows)
			if err == nil && slices.Contains([]ChunkState{Sending, Accepted, Requeued, Verified, Rejected}, c.State) {
				known = append(known, c.Keys...)
				return nil
			}
			bad++
			_, err = exec(ctx, tx, "DELETE FROM upload_checkpoints WHERE id = ?", c.ID)
			return err
		}, "SELECT "+chunkColumns+" FROM upload_checkpoints")
		if err != nil || bad == 0 {
			return err
		}
		m := &marker{tx: tx, now: ob.o.Now()}
		if _, err := m.doubt(ctx); err != nil {
			return err
		}
		marked, err := all(ctx, tx, scanOne[Key], "SELECT dedup_key FROM metrics WHERE uploaded = 1 AND value IS NOT NULL")
		if err != nil {
			return err
		}
		t, err := readTimeline(ctx, tx)
		if err != nil {
			return err
		}
		for keys := KeySet(marked).Sorted().Without(known.Sorted()); len(keys) > 0; {
			n := min(t.alike(keys), doubtRows)
			if err := m.record(ctx, keys[:n], Accepted); err != nil {
				return err
			}
			keys = keys[n:]
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("repair the records of chunks: %w", err)
	}
	return bad, nil
}
