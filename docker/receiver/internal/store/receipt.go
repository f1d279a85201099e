package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
)

// maxReceipts is how many chunks are remembered: a day of 30 devices that send one every half minute.
const maxReceipts = 100_000

// Receipt is what was answered to a chunk that was taken.
type Receipt struct {
	Device string            // who sent it, "" where nobody is asked
	Chunk  string            // the id it was sent under
	Body   [sha256.Size]byte // of what was sent: another body under the same id is another chunk
	Answer []byte            // JSON
}

const (
	addReceipt = `INSERT OR REPLACE INTO chunks (device_id, chunk, body, answer) VALUES (?, ?, ?, ?)`
	// Ids grow by one, so this removes one row at most, but for a table that was once allowed to be larger.
	trimReceipts = `DELETE FROM chunks WHERE id <= (SELECT max(id) FROM chunks) - ?`
)

// Receipt returns what was answered to a chunk, if it was one of the last maxReceipts.
func (s *Store) Receipt(ctx context.Context, device, chunk string) (Receipt, bool, error) {
	r := Receipt{Device: device, Chunk: chunk}
	var body []byte
	var answer string
	err := s.read.QueryRowContext(ctx, `SELECT body, answer FROM chunks WHERE device_id = ? AND chunk = ?`, device, chunk).
		Scan(&body, &answer)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r, false, nil
	case err != nil:
		return r, false, fmt.Errorf("read receipt: %w", err)
	case len(body) != len(r.Body):
		return r, false, nil
	}
	r.Body, r.Answer = [sha256.Size]byte(body), []byte(answer)
	return r, true, nil
}

// remember notes a receipt in the transaction of its samples.
func (w *writer) remember(r *Receipt) error {
	if _, err := w.addReceipt.Exec(r.Device, r.Chunk, r.Body[:], string(r.Answer)); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if _, err := w.trimReceipts.Exec(maxReceipts); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	return nil
}
