package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"belabox-metrics/migrations"
)

// schemaVersion returns the schema version of the open file; 0 = empty.
func schemaVersion(ctx context.Context, db querier) (int, error) {
	var version int
	err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return version, classify(err)
}

// Migrate makes the file at o.Path if it is missing and brings it to the newest
// schema, as both daemons do when they open it. It is safe to call again, at any
// time and from any number of processes: a file that is up to date is not
// written to. A file from a newer program gives ErrNewer. A failure leaves the
// last complete version in place.
func Migrate(ctx context.Context, o Options) error {
	db, l, err := open(ctx, o.withDefaults(), "FULL", 1)
	if err != nil {
		return err
	}
	return errors.Join(db.Close(), l.release())
}

// migrate runs the steps that the file lacks. takeLock takes the migrate flock:
// with it the start order of the daemons is irrelevant, the second one waits and
// then finds nothing to do.
func migrate(ctx context.Context, db *sql.DB, o Options, steps []migrations.Migration, takeLock func() error) error {
	newest := len(steps)
	version, err := schemaVersion(ctx, db)
	if err != nil || version == newest {
		return err
	}
	if err := takeLock(); err != nil {
		return err
	}
	if version, err = schemaVersion(ctx, db); err != nil {
		return err
	}
	if version > newest {
		return fmt.Errorf("schema %d, this program supports %d: %w", version, newest, ErrNewer)
	}
	log := o.Log.With("path", o.Path)
	if version == 0 {
		log = slog.New(slog.DiscardHandler) // an empty file has nothing to upgrade
	}
	start := time.Now()
	for _, step := range steps[version:] {
		log.Info("upgrading database", "schema", step.Version, "file", step.Name)
		if err := runStep(ctx, db, step); err != nil {
			return fmt.Errorf("upgrade by %s: %w; the file stays at schema %d", step.Name, classify(err), step.Version-1)
		}
		if version == 0 {
			continue // a few empty tables
		}
		// Each step may write the whole file once: the WAL need not hold them all. A
		// reader in the way costs room and nothing else.
		if _, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			return fmt.Errorf("checkpoint after %s: %w", step.Name, classify(err))
		}
	}
	log.Info("database upgraded", "schema", newest, "duration_ms", time.Since(start).Milliseconds())
	return nil
}

// runStep makes one step and its version number one transaction: a crash in it
// leaves the file as it was before the step.
func runStep(ctx context.Context, db *sql.DB, step migrations.Migration) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if _, err := tx.ExecContext(ctx, step.SQL); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", step.Version)); err != nil {
		return err
	}
	return tx.Commit()
}
