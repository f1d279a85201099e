package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// checkConsistent is the one checker of everything that must hold of a file
// after every transaction, whatever came before.
func checkConsistent(t tester, db *sql.DB) {
	t.Helper()
	none := func(what, query string) {
		t.Helper()
		if bad := queryLines(t, db, query); len(bad) > 0 {
			t.Errorf("%s: %d, such as %s", what, len(bad), bad[0])
		}
	}
	none("pending rows below the mark", "SELECT dedup_key, (SELECT low_water FROM outbox) FROM metrics WHERE uploaded = 0 AND dedup_key < (SELECT low_water FROM outbox)")
	none("rows whose mark is neither 0 nor 1", "SELECT * FROM metrics WHERE uploaded NOT IN (0, 1)")
	none("rows without a series", "SELECT * FROM metrics WHERE dedup_key & 4194303 NOT IN (SELECT id FROM series)")
	none("rows missing from the view", "SELECT (SELECT count(*) FROM metrics), (SELECT count(*) FROM metric_rows) WHERE (SELECT count(*) FROM metrics) <> (SELECT count(*) FROM metric_rows)")
	none("rows of the other type", `SELECT * FROM metric_rows WHERE value_type = 0 AND value_text IS NOT NULL OR value_type = 1 AND value IS NOT NULL`)
	none("open chunks that are settled, or the reverse", `SELECT id, state, settled_ms FROM upload_checkpoints
		WHERE (state IN ('sending', 'accepted')) <> (settled_ms IS NULL)`)
	if n := queryInt(t, db, "SELECT count(*) FROM outbox"); n != 1 {
		t.Errorf("table outbox has %d rows, want 1", n)
	}
	checkChunks(t, db)
}

// checkChunks compares the recorded chunks with the rows they name.
func checkChunks(t tester, db *sql.DB) {
	t.Helper()
	uploaded := map[Key]bool{}
	rows, err := db.Query("SELECT dedup_key, uploaded FROM metrics")
	if err != nil {
		t.Fatalf("read rows: %v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k Key
		var mark bool
		if err := rows.Scan(&k, &mark); err != nil {
			t.Fatalf("read rows: %v", err)
		}
		uploaded[k] = mark
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("read rows: %v", err)
	}

	chunks, err := db.Query("SELECT id, state, first_key, last_key, row_keys, sample_count FROM upload_checkpoints ORDER BY id")
	if err != nil {
		t.Fatalf("read chunks: %v", err)
	}
	defer chunks.Close()
	owner := map[Key]int64{} // keys of open chunks
	for chunks.Next() {
		var id, first, last, count int64
		var state ChunkState
		var encoded []byte
		if err := chunks.Scan(&id, &state, &first, &last, &encoded, &count); err != nil {
			t.Fatalf("read chunks: %v", err)
		}
		keys, err := decodeKeySet(encoded)
		if err != nil || int64(len(keys)) != count || !slices.IsSorted(keys) {
			t.Errorf("chunk %d: %v, %d keys, sample_count %d", id, err, len(keys), count)
		}
		if (len(keys) == 0) != (state == Rejected) {
			t.Errorf("chunk %d is %s with %d keys", id, state, len(keys))
		}
		if len(keys) > 0 && (int64(keys[0]) != first || int64(keys[len(keys)-1]) != last) {
			t.Errorf("chunk %d: keys from %d to %d, recorded %d to %d", id, keys[0], keys[len(keys)-1], first, last)
		}
		done := state == Accepted || state == Verified
		open := state == Sending || state == Accepted || state == Requeued
		for _, k := range keys {
			mark, exists := uploaded[k]
			// Rows of a verified chunk may have been pruned.
			if exists && mark != done || !exists && state != Verified {
				t.Errorf("chunk %d is %s, its row %d exists %v, uploaded %v", id, state, k, exists, mark)
			}
			if open {
				if other, taken := owner[k]; taken {
					t.Errorf("row %d is in the open chunks %d and %d", k, other, id)
				}
				owner[k] = id
			}
		}
	}
	if err := chunks.Err(); err != nil {
		t.Fatalf("read chunks: %v", err)
	}
}

// checkLedger wants every sample accounted for.
func checkLedger(t tester, ob *Outbox) Ledger {
	t.Helper()
	l, err := ob.Ledger(context.Background())
	if err != nil {
		t.Fatalf("%v", err)
	}
	if l.Difference() != 0 {
		t.Errorf("the ledger is off by %d: %+v", l.Difference(), l)
	}
	return l
}

// newChunk makes a chunk of keys as the shipper does, not yet recorded.
func newChunk(keys KeySet, contiguous bool) *Chunk {
	return &Chunk{
		BatchID: uuid.NewString(), Keys: keys, Contiguous: contiguous, Bytes: 100 + len(keys),
		Hash: sha256.Sum256(fmt.Append(nil, keys)), Created: time.UnixMilli(tick0.UnixMilli() + 1).UTC(),
	}
}

// recordPending records the oldest pending rows as one chunk.
func recordPending(t testing.TB, ob *Outbox, limit int) *Chunk {
	t.Helper()
	c := newChunk(pendingKeys(t, ob, limit, nil), true)
	if err := ob.RecordSending(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func pendingKeys(t tester, ob *Outbox, limit int, owned func(Key) bool) (keys KeySet) {
	t.Helper()
	rows, err := ob.Pending(context.Background(), 0, limit, owned)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, r := range rows {
		keys = append(keys, r.Key)
	}
	return keys
}
