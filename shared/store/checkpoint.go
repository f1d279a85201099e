package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"
)

// CheckpointResult tells what a WAL checkpoint did.
type CheckpointResult struct {
	Duration  time.Duration
	WALBefore int64 // bytes
	WALAfter  int64 // bytes
	// Complete is false when a reader kept part of the WAL in use; the next
	// checkpoint takes the rest.
	Complete bool
}

// Checkpoint copies the WAL into the database and truncates it to nothing. See
// https://sqlite.org/pragma.html#pragma_wal_checkpoint
func (in *Inserter) Checkpoint(ctx context.Context) (CheckpointResult, error) {
	return checkpoint(ctx, in.db, in.o.Path)
}

// checkpoint runs beside the writing connection. The first pass does the bulk of
// the copying and holds nobody up; a slow card may take seconds for it. The
// second holds the write lock, for what came in meanwhile only.
func checkpoint(ctx context.Context, db *sql.DB, path string) (CheckpointResult, error) {
	r := CheckpointResult{WALBefore: WALSize(path)}
	start := time.Now()
	for _, mode := range []string{"PASSIVE", "TRUNCATE"} {
		var busy, logged, copied int
		if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &logged, &copied); err != nil {
			return r, fmt.Errorf("checkpoint: %w", classify(err))
		}
		r.Complete = busy == 0
	}
	r.Duration = time.Since(start)
	r.WALAfter = WALSize(path)
	return r, nil
}

// WALSize returns the size of the WAL of the database at path in bytes; 0 when
// there is none.
func WALSize(path string) int64 { return fileSize(path + "-wal") }

// FileSize returns the size of the database file at path in bytes, without its WAL.
func FileSize(path string) int64 { return fileSize(path) }

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0 // no file, no bytes; who cannot read it learns that when opening it
	}
	return info.Size()
}

// Checkpoint is for the time while collectord is away, see Inserter.Checkpoint.
func (ob *Outbox) Checkpoint(ctx context.Context) (CheckpointResult, error) {
	return checkpoint(ctx, ob.db, ob.o.Path)
}
