package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"time"
)

// ChunkState is how far a chunk has come.
type ChunkState string

const (
	// Sending: recorded and synced before its first byte leaves. After a crash
	// the server must be asked what it has of it.
	Sending ChunkState = "sending"
	// Accepted: answered 2xx, its rows are uploaded; not yet read back.
	Accepted ChunkState = "accepted"
	// Requeued: read back and missing. The rows left in Keys are owed again.
	Requeued ChunkState = "requeued"
	// Verified: read back and found, all of Keys.
	Verified ChunkState = "verified"
	// Rejected: nothing of it could be delivered.
	Rejected ChunkState = "rejected"
)

// Chunk is one request body: which rows it carries and what became of it; a row
// of table upload_checkpoints.
type Chunk struct {
	ID      int64 // row id, set by Outbox.RecordSending
	BatchID string
	Index   int // within the batch, from 0
	State   ChunkState
	Keys    KeySet
	// Contiguous says that Keys were all pending rows of their range when they
	// were read. Then one range update marks them. Not stored.
	Contiguous bool
	Bytes      int               // of the compressed body
	Hash       [sha256.Size]byte // of the uncompressed body
	Attempts   int
	Resends    int // times rows of it were found missing
	HTTPStatus int // of the last attempt that got an answer, 0 = none
	Error      string
	Created    time.Time // what its timestamps are clamped against
	Attempted  time.Time // when the last attempt ended
	Accepted   time.Time
}

const chunkColumns = `id, batch_id, chunk_index, state, row_keys, bytes, content_hash, attempts, resends,
	coalesce(http_status, 0), coalesce(error, ''), created_ms, coalesce(attempted_ms, 0), coalesce(accepted_ms, 0)`

func scanChunk(rows *sql.Rows) (*Chunk, error) {
	var c Chunk
	var keys, hash []byte
	var created, attempted, accepted int64
	err := rows.Scan(&c.ID, &c.BatchID, &c.Index, &c.State, &keys, &c.Bytes, &hash, &c.Attempts, &c.Resends,
		&c.HTTPStatus, &c.Error, &created, &attempted, &accepted)
	if err != nil {
		return nil, classify(err)
	}
	if c.Keys, err = decodeKeySet(keys); err != nil {
		return nil, fmt.Errorf("chunk %d: %w: %w", c.ID, ErrDamaged, err)
	}
	copy(c.Hash[:], hash)
	c.Created, c.Attempted, c.Accepted = fromMS(created), fromMS(attempted), fromMS(accepted)
	return &c, nil
}

func (c *Chunk) insert(ctx context.Context, tx *sql.Tx) error {
	return tx.QueryRowContext(ctx, `INSERT INTO upload_checkpoints
		(batch_id, chunk_index, state, first_key, last_key, row_keys, sample_count, bytes, content_hash,
		 attempts, resends, created_ms)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id`,
		c.BatchID, c.Index, Sending, int64(c.Keys[0]), int64(c.Keys[len(c.Keys)-1]), c.Keys.encode(), len(c.Keys),
		c.Bytes, c.Hash[:], c.Attempts, c.Resends, c.Created.UnixMilli()).Scan(&c.ID)
}

// fromMS is the inverse of UnixMilli in UTC; 0 is the zero time.
func fromMS(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// nullMS is what a column holds for t.
func nullMS(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}
