package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/google/uuid"

	"belabox-metrics/shared/clock"
)

// Session is one run of a daemon, a row of table sessions.
type Session struct {
	ID   int64  // row id, in every row that the run inserted
	UUID string // for logs
}

// beginSession records that a run has started. A run that is killed stays in the
// table without an end, which the next run detects.
func beginSession(ctx context.Context, db *sql.DB, o Options) (Session, error) {
	s := Session{UUID: uuid.NewString()}
	err := db.QueryRowContext(ctx, `INSERT INTO sessions (uuid, daemon, version, boot_id, started_ms)
		VALUES (?, ?, ?, ?, ?) RETURNING id`,
		s.UUID, o.Daemon, o.Version, clock.BootID(), o.Now().UnixMilli()).Scan(&s.ID)
	if err != nil {
		return s, fmt.Errorf("begin session: %w", classify(err))
	}
	return s, nil
}

// end records that the run stopped in order.
func (s Session) end(ctx context.Context, db *sql.DB, o Options) error {
	_, err := db.ExecContext(ctx, "UPDATE sessions SET ended_ms = ?, clean = 1 WHERE id = ?", o.Now().UnixMilli(), s.ID)
	if err != nil {
		return fmt.Errorf("end session: %w", classify(err))
	}
	return nil
}
