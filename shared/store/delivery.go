package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Rejection is a sample that can never be delivered.
type Rejection struct {
	Key    Key
	Reason string // a short fixed word; counted by it
	Detail string // the server's words, or ours
}

// RecordSending writes down, synced, what is about to be sent; it sets the
// chunks' IDs. Crash window: from here on until an outcome is recorded, the
// server may or may not have these rows, and the next start must query it.
func (ob *Outbox) RecordSending(ctx context.Context, chunks ...*Chunk) error {
	var added []*Chunk
	err := ob.w.tx(ctx, nothing, func(ctx context.Context, tx execer) error {
		for _, c := range chunks {
			if c.ID != 0 { // a requeued one goes out again
				if err := c.update(ctx, tx, Sending, nil, false); err != nil {
					return err
				}
				continue
			}
			if err := c.insert(ctx, tx); err != nil {
				return err
			}
			added = append(added, c)
		}
		return nil
	})
	if err != nil {
		for _, c := range added {
			c.ID = 0
		}
		return fmt.Errorf("record chunks: %w", err)
	}
	for _, c := range chunks {
		c.State = Sending
	}
	return nil
}

// MarkUploaded records that the server took a chunk: its rows get uploaded = 1.
// Rows in rejected become dead letters instead, rows in again stay pending; c
// keeps the rest. Crash window: if we die before this commit, or a power cut
// takes it, the chunk is still Sending and the server is asked; after it,
// nothing is owed but the proof.
func (ob *Outbox) MarkUploaded(ctx context.Context, c *Chunk, rejected []Rejection, again KeySet) error {
	return ob.settle(ctx, []*Chunk{c}, Accepted, func(ctx context.Context, tx execer, alone bool) error {
		refused := make(KeySet, len(rejected))
		for i, r := range rejected {
			refused[i] = r.Key
		}
		if len(rejected)+len(again) > 0 {
			c.Keys, c.Contiguous = c.Keys.Without(refused.Sorted()).Without(again), false
		}
		if err := setUploaded(ctx, tx, c.Keys, alone && c.Contiguous, 1); err != nil {
			return err
		}
		_, err := moveToDeadLetters(ctx, tx, ob.o.Now().UnixMilli(), rejected)
		return err
	})
}

// Reject records that no request can carry some rows of a chunk, whatever became of them so far:
// they become dead letters, and c goes on with the others, in the state it has.
func (ob *Outbox) Reject(ctx context.Context, c *Chunk, rejected []Rejection) error {
	return ob.settle(ctx, []*Chunk{c}, c.State, func(ctx context.Context, tx execer, _ bool) error {
		refused := make(KeySet, len(rejected))
		for i, r := range rejected {
			refused[i] = r.Key
		}
		c.Keys, c.Contiguous = c.Keys.Without(refused.Sorted()), false
		_, err := moveToDeadLetters(ctx, tx, ob.o.Now().UnixMilli(), rejected)
		return err
	})
}

// Requeue records that only the rows in missing are not at the server: they are
// pending again, as this chunk, and the others are done. With none missing it is
// MarkVerified.
func (ob *Outbox) Requeue(ctx context.Context, c *Chunk, missing KeySet) error {
	if len(missing) == 0 {
		return ob.MarkVerified(ctx, c)
	}
	return ob.settle(ctx, []*Chunk{c}, Requeued, func(ctx context.Context, tx execer, _ bool) error {
		if err := setUploaded(ctx, tx, c.Keys.Without(missing), false, 1); err != nil {
			return err
		}
		c.Keys, c.Contiguous = missing, false
		return setUploaded(ctx, tx, missing, false, 0)
	})
}

// Narrow records that all rows of c but those in absent were read back: they are done, and c goes
// on with the absent ones, in the state it has. Crash window: without it the server is asked for
// all of them again.
func (ob *Outbox) Narrow(ctx context.Context, c *Chunk, absent KeySet) error {
	return ob.settle(ctx, []*Chunk{c}, c.State, func(ctx context.Context, tx execer, _ bool) error {
		if err := setUploaded(ctx, tx, c.Keys.Without(absent), false, 1); err != nil {
			return err
		}
		c.Keys, c.Contiguous = absent, false
		return nil
	})
}

// Split moves the rows in keys, some of c's, to a chunk of their own, which is as far as c is.
// batchID is the new chunk's. It is synced because collectord takes each new record for a sync
// (noteSync). Crash window: none, the rows are in one of the two.
func (ob *Outbox) Split(ctx context.Context, c *Chunk, keys KeySet, batchID string) (*Chunk, error) {
	rest, part := *c, *c
	rest.Keys, rest.Contiguous = c.Keys.Without(keys), false
	part.ID, part.BatchID, part.Index, part.Keys, part.Contiguous = 0, batchID, 0, keys, false
	err := ob.w.tx(ctx, nothing, func(ctx context.Context, tx execer) error {
		if err := part.insert(ctx, tx); err != nil {
			return err
		}
		if err := part.update(ctx, tx, part.State, nil, false); err != nil {
			return err
		}
		return rest.update(ctx, tx, rest.State, nil, true)
	})
	if err != nil {
		return nil, fmt.Errorf("split chunk: %w", err)
	}
	*c = rest
	return &part, nil
}

// Withdraw takes back a chunk of which the server certainly has nothing: its
// rows are pending as if it had never been, and so is c: without an ID or state.
func (ob *Outbox) Withdraw(ctx context.Context, c *Chunk) error {
	err := ob.w.tx(ctx, unsynced, func(ctx context.Context, tx execer) error {
		if err := setUploaded(ctx, tx, c.Keys, false, 0); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM upload_checkpoints WHERE id = ?", c.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("withdraw chunk: %w", err)
	}
	c.ID, c.State = 0, ""
	return nil
}

// MarkUnsendable marks text rows as done: they are kept in the file and never
// shipped.
func (ob *Outbox) MarkUnsendable(ctx context.Context, keys KeySet) error {
	err := ob.w.tx(ctx, unsynced, func(ctx context.Context, tx execer) error {
		if err := setUploaded(ctx, tx, keys, false, 1); err != nil {
			return err
		}
		return advanceLowWater(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("mark text rows: %w", err)
	}
	return nil
}

// MoveToDeadLetters moves pending rows that no request could carry to the dead letters.
func (ob *Outbox) MoveToDeadLetters(ctx context.Context, rejected []Rejection) error {
	err := ob.w.tx(ctx, unsynced, func(ctx context.Context, tx execer) error {
		moved, err := moveToDeadLetters(ctx, tx, ob.o.Now().UnixMilli(), rejected)
		if err != nil {
			return err
		}
		if moved < len(rejected) { // nobody else deletes pending rows: the tree is at fault
			return fmt.Errorf("%w: %d of %d rows that were listed cannot be found by their keys", ErrDamaged, len(rejected)-moved, len(rejected))
		}
		return advanceLowWater(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("move to dead letters: %w", err)
	}
	return nil
}

var queryOpenChunks = "SELECT " + chunkColumns + ` FROM upload_checkpoints
	WHERE state IN ('sending', 'accepted', 'requeued') ORDER BY first_key, id`

// OpenChunks returns the chunks whose fate is not settled, oldest rows first:
// what the next start has to take up.
func (r *Reader) OpenChunks(ctx context.Context) ([]*Chunk, error) {
	chunks, err := all(ctx, r.db, scanChunk, queryOpenChunks)
	if err != nil {
		return nil, fmt.Errorf("read open chunks: %w", err)
	}
	return chunks, nil
}

// LastDelivery returns when a chunk was last answered 2xx, and when one was last verified, by this
// run or an earlier one; zero when none on record was. Records go when their rows are pruned.
func (r *Reader) LastDelivery(ctx context.Context) (accepted, verified time.Time, err error) {
	var acceptedMS, verifiedMS int64
	err = scan(r.db.QueryRowContext(ctx, `SELECT coalesce(max(accepted_ms), 0), coalesce(max(settled_ms) FILTER (WHERE state = 'verified'), 0)
		FROM upload_checkpoints`), &acceptedMS, &verifiedMS)
	if err != nil {
		return accepted, verified, fmt.Errorf("read the last delivery: %w", classify(err))
	}
	return fromMS(acceptedMS), fromMS(verifiedMS), nil
}

// AcceptedBefore returns the chunk that was the last to be answered 2xx up to a time, whether it
// was read back or not; nil when none is on record.
func (r *Reader) AcceptedBefore(ctx context.Context, t time.Time) (*Chunk, error) {
	chunks, err := all(ctx, r.db, scanChunk, "SELECT "+chunkColumns+` FROM upload_checkpoints
		WHERE state IN ('accepted', 'verified') AND accepted_ms <= ? AND sample_count > 0 ORDER BY accepted_ms DESC, id DESC LIMIT 1`, t.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("read the last accepted chunk: %w", err)
	}
	if len(chunks) == 0 {
		return nil, nil
	}
	return chunks[0], nil
}

// settle records an outcome of chunks: mark changes the rows and may narrow the keys of a chunk. It
// is not synced: losing it means asking the server once more. mark is called with alone = true, and
// once more without, in a new transaction, where errOthers shows that this was wrong.
func (ob *Outbox) settle(ctx context.Context, chunks []*Chunk, state ChunkState, mark func(ctx context.Context, tx execer, alone bool) error) error {
	if len(chunks) == 0 {
		return nil
	}
	before := make([]Chunk, len(chunks))
	for i, c := range chunks {
		before[i] = *c
	}
	restore := func() {
		for i, c := range chunks {
			*c = before[i]
		}
	}
	alone := true
	change := func(ctx context.Context, tx execer) error {
		if err := mark(ctx, tx, alone); err != nil {
			return err
		}
		for i, c := range chunks {
			if len(c.Keys) == 0 {
				state = Rejected // what is left of it stands in the dead letters
			}
			c.State = state
			var settled any
			if c.State != Accepted && c.State != Sending {
				at, err := ob.trueNow(ctx, tx)
				if err != nil {
					return err
				}
				settled = at.UnixMilli()
			}
			if err := c.update(ctx, tx, c.State, settled, len(c.Keys) != len(before[i].Keys)); err != nil {
				return err
			}
		}
		return advanceLowWater(ctx, tx)
	}
	err := ob.w.tx(ctx, unsynced, change)
	if errors.Is(err, errOthers) {
		restore()
		alone = false
		err = ob.w.tx(ctx, unsynced, change)
	}
	if err != nil {
		restore()
		return fmt.Errorf("record chunk as %s: %w", state, err)
	}
	return nil
}

// update writes what may change in a chunk's life.
func (c *Chunk) update(ctx context.Context, tx execer, state ChunkState, settledMS any, keysChanged bool) error {
	res, err := tx.ExecContext(ctx, `UPDATE upload_checkpoints SET state = ?, attempts = ?, resends = ?, bytes = ?, content_hash = ?,
		http_status = nullif(?, 0), error = nullif(?, ''), created_ms = ?, attempted_ms = ?, accepted_ms = ?, settled_ms = ? WHERE id = ?`,
		state, c.Attempts, c.Resends, c.Bytes, c.Hash[:], c.HTTPStatus, c.Error, c.Created.UnixMilli(),
		nullMS(c.Attempted), nullMS(c.Accepted), settledMS, c.ID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		// Sending what is not recorded would break the promise.
		return errors.Join(err, fmt.Errorf("chunk %d is not in the file", c.ID))
	}
	if !keysChanged {
		return nil
	}
	if len(c.Keys) == 0 {
		_, err = tx.ExecContext(ctx, "UPDATE upload_checkpoints SET row_keys = x'', sample_count = 0 WHERE id = ?", c.ID)
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE upload_checkpoints SET first_key = ?, last_key = ?, row_keys = ?, sample_count = ? WHERE id = ?",
		int64(c.Keys[0]), int64(c.Keys[len(c.Keys)-1]), c.Keys.encode(), len(c.Keys), c.ID)
	return err
}

// The two ways to mark rows; a range costs a third to a half of the CPU time. A
// test asserts the plans. OR FAIL spares SQLite's statement journal, a copy of each page before
// its change: an error ends the whole transaction anyway.
const (
	markRange = "UPDATE OR FAIL metrics SET uploaded = ?1 WHERE dedup_key BETWEEN ?2 AND ?3 AND uploaded <> ?1"
	markKeys  = "UPDATE OR FAIL metrics SET uploaded = ?1 WHERE dedup_key IN (SELECT value FROM json_each(?2)) AND uploaded <> ?1"
)

// errOthers says that not exactly the rows of a chunk were changed: the transaction must not be
// committed.
var errOthers = errors.New("other rows are among those of the chunk")

// setUploaded sets the mark of exactly the rows in keys. Where they were all
// pending rows of their range, alone, one range update does it; a row that came into
// the range since (with a time of its own) shows in the count: that is errOthers.
// Rows that are gone from the file are no error.
//
// The count is exact only while nobody deletes pending rows of an open chunk: a
// row gone and a row new would even out. So EnforceBudget spares their span.
func setUploaded(ctx context.Context, tx execer, keys KeySet, alone bool, uploaded int) error {
	if len(keys) == 0 {
		return nil
	}
	if alone {
		first, last := int64(keys[0]), int64(keys[len(keys)-1])
		n, err := exec(ctx, tx, markRange, uploaded, first, last)
		if err == nil && n != int64(len(keys)) {
			err = errOthers
		}
		if err != nil || uploaded == 0 {
			return err
		}
		// No row of the range is pending: advanceLowWater need not look at them again.
		_, err = tx.ExecContext(ctx, "UPDATE outbox SET low_water = ?2 WHERE low_water BETWEEN ?1 AND ?2", first, last)
		return err
	}
	_, err := tx.ExecContext(ctx, markKeys, uploaded, keys.json())
	if err != nil || uploaded != 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE outbox SET low_water = ?1 WHERE low_water > ?1", int64(keys[0]))
	return err
}

// moveToDeadLetters moves rows to the dead letters, and returns how many there were. What the file
// has of a damaged series comes along, as far as it is text of a size that we would have written.
func moveToDeadLetters(ctx context.Context, tx execer, nowMS int64, rejected []Rejection) (moved int, err error) {
	for _, r := range rejected {
		_, err := tx.ExecContext(ctx, `INSERT INTO dead_letters
			(device_id, timestamp_ms, name, tags, value, value_text, value_type, reason, detail, created_ms, row_key)
			SELECT coalesce(CAST(substr(s.device_id, 1, ?1) AS TEXT), ''), (m.dedup_key >> 22) + `+offsetOf("m.dedup_key")+`,
			       coalesce(CAST(substr(s.name, 1, ?1) AS TEXT), ''), coalesce(CAST(substr(s.tags, 1, ?1) AS TEXT), '{}'),
			       iif(typeof(m.value) IN ('real', 'integer'), m.value, NULL), CAST(substr(m.value_text, 1, ?1) AS TEXT),
			       coalesce(CAST(s.value_type AS INTEGER), 0), ?2, ?3, ?4, m.dedup_key
			  FROM metrics m LEFT JOIN series s ON s.id = m.dedup_key & 4194303 WHERE m.dedup_key = ?5`,
			maxText, r.Reason, r.Detail, nowMS, int64(r.Key))
		if err != nil {
			return moved, err
		}
		n, err := exec(ctx, tx, "DELETE FROM metrics WHERE dedup_key = ?", int64(r.Key))
		if err != nil {
			return moved, err
		}
		moved += int(n)
		if err := bookLeaving(ctx, tx, r.Key, r.Key, n, +1); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// queryAdvance is the search of advanceLowWater; a test asserts its plan.
const queryAdvance = `UPDATE outbox SET low_water = coalesce(
	(SELECT dedup_key FROM metrics WHERE dedup_key >= outbox.low_water AND uploaded = 0 ORDER BY dedup_key LIMIT 1),
	(SELECT min(max(dedup_key), 9223372036854775806) + 1 FROM metrics WHERE dedup_key >= outbox.low_water),
	low_water)`

// advanceLowWater moves the mark up to the first pending row, or past the last
// row when none is pending (there is no going past the greatest key of all). It
// passes each row once in the row's life.
func advanceLowWater(ctx context.Context, tx execer) error {
	_, err := tx.ExecContext(ctx, queryAdvance)
	return err
}
