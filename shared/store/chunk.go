package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strings"
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

// Chunk is a part of a request body: which rows it carries and what became of it; a row
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
	Bytes      int               // its share of the compressed body
	Hash       [sha256.Size]byte // of its lines
	Attempts   int
	Resends    int // times rows of it were found missing
	HTTPStatus int // of the last attempt that got an answer, 0 = none
	Error      string
	Created    time.Time // what its timestamps are clamped against
	Attempted  time.Time // when the last attempt ended
	Accepted   time.Time
}

// maxPackedKeys bounds what is read of a chunk's record; no chunk has more rows than a catch-up
// reads.
const maxPackedKeys = 4 << 20

// keyColumns are read by keysOf.
var keyColumns = fmt.Sprintf("iif(octet_length(row_keys) <= %d, row_keys, NULL), sample_count, first_key, last_key", maxPackedKeys)

var chunkColumns = `id, batch_id, chunk_index, state, ` + keyColumns + `, bytes, substr(content_hash, 1, 32), attempts, resends,
	coalesce(http_status, 0), substr(coalesce(error, ''), 1, 1000), created_ms, coalesce(attempted_ms, 0), coalesce(accepted_ms, 0)`

// packedKeys are the rows of a chunk as its record has them: three times.
type packedKeys struct {
	packed             []byte
	count, first, last int64
}

// keys unpacks them. Whatever bit flips in one of the three, the others tell.
func (p *packedKeys) keys() (KeySet, error) {
	keys, err := decodeKeySet(p.packed)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrPart, err)
	case int64(len(keys)) != p.count || len(keys) > 0 && (int64(keys[0]) != p.first || int64(keys[len(keys)-1]) != p.last):
		return nil, fmt.Errorf("%w: its rows are not those that it counts", ErrPart)
	}
	return keys, nil
}

// scanChunk reads a record. With an error the chunk has nothing but its ID.
func scanChunk(rows *sql.Rows) (*Chunk, error) {
	var c Chunk
	var p packedKeys
	var hash []byte
	var created, attempted, accepted int64
	err := rows.Scan(&c.ID, &c.BatchID, &c.Index, &c.State, &p.packed, &p.count, &p.first, &p.last, &c.Bytes, &hash, &c.Attempts, &c.Resends,
		&c.HTTPStatus, &c.Error, &created, &attempted, &accepted)
	if err != nil {
		return &c, fmt.Errorf("chunk %d: %w: %w", c.ID, ErrPart, err)
	}
	if c.Keys, err = p.keys(); err != nil {
		return &c, fmt.Errorf("chunk %d: %w", c.ID, err)
	}
	// It goes into a header of each request, which takes no other characters.
	if len(c.BatchID) > 100 || strings.ContainsFunc(c.BatchID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &c, fmt.Errorf("chunk %d: %w: its batch id is %.100q", c.ID, ErrPart, c.BatchID)
	}
	copy(c.Hash[:], hash)
	c.Created, c.Attempted, c.Accepted = fromMS(created), fromMS(attempted), fromMS(accepted)
	return &c, nil
}

func (c *Chunk) insert(ctx context.Context, tx execer) error {
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
