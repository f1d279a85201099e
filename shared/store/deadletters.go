package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// DeadLetter is a sample that could not be delivered.
type DeadLetter struct {
	ID          int64
	Device      string
	Name        string
	Tags        string // JSON object
	TimestampMS int64  // as sampled
	Value       sql.NullFloat64
	Text        string // text series
	Type        ValueType
	Reason      string // a short fixed word
	Detail      string // the server's words, or ours
	Created     time.Time
}

const letterColumns = `id, device_id, name, tags, timestamp_ms, value, coalesce(value_text, ''), value_type, reason, detail, created_ms`

// DeadLetters returns up to limit dead letters with an ID above after, in the
// order in which they came.
func (ob *Outbox) DeadLetters(ctx context.Context, after int64, limit int) ([]DeadLetter, error) {
	return readLetters(ctx, ob.db, "SELECT "+letterColumns+" FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?", after, limit)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func readLetters(ctx context.Context, q querier, query string, args ...any) ([]DeadLetter, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", classify(err))
	}
	defer rows.Close() //nolint:errcheck // rows.Err below has it
	var letters []DeadLetter
	for rows.Next() {
		var l DeadLetter
		var created int64
		if err := rows.Scan(&l.ID, &l.Device, &l.Name, &l.Tags, &l.TimestampMS, &l.Value, &l.Text, &l.Type,
			&l.Reason, &l.Detail, &created); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", classify(err))
		}
		l.Created = fromMS(created)
		letters = append(letters, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read dead letters: %w", classify(err))
	}
	return letters, nil
}

// RetryDeadLetter makes the dead letter with this ID a pending row again. It
// stays a dead letter, and retried is false, when no request can ever carry it (a
// number without a value, a time no key can hold) or when another row has its
// place.
func (ob *Outbox) RetryDeadLetter(ctx context.Context, id int64) (retried bool, err error) {
	err = ob.w.tx(ctx, unsynced, func(ctx context.Context, tx *sql.Tx) error {
		retried = false
		letters, err := readLetters(ctx, tx, "SELECT "+letterColumns+" FROM dead_letters WHERE id = ?", id)
		if err != nil {
			return err
		}
		if len(letters) == 0 {
			return errors.New("there is no such dead letter")
		}
		l := letters[0]
		if l.Type == Text || !l.Value.Valid || l.TimestampMS < 0 || l.TimestampMS > MaxTimestampMS {
			return nil
		}
		var series int64
		identity := SeriesKey(l.Device, l.Name, l.Tags, l.Type)
		err = tx.QueryRowContext(ctx, "SELECT id FROM series WHERE dedup_key = ?", identity[:]).Scan(&series)
		if errors.Is(err, sql.ErrNoRows) {
			err = tx.QueryRowContext(ctx, `INSERT INTO series (dedup_key, name, tags, device_id, value_type)
				VALUES (?,?,?,?,?) RETURNING id`, identity[:], l.Name, l.Tags, l.Device, int(l.Type)).Scan(&series)
		}
		if err != nil {
			return err
		}
		key := int64(PackKey(l.TimestampMS, series))
		res, err := tx.ExecContext(ctx, "INSERT INTO metrics (dedup_key, value) VALUES (?, ?) ON CONFLICT DO NOTHING", key, l.Value)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		retried = true
		if _, err := tx.ExecContext(ctx, "DELETE FROM dead_letters WHERE id = ?", id); err != nil {
			return err
		}
		if err := bookLeaving(ctx, tx, Key(key), Key(key), 1, -1); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE outbox SET low_water = ?1 WHERE low_water > ?1", key)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("retry dead letter %d: %w", id, err)
	}
	return retried, nil
}
