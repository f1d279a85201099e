package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// DeadLetter is a sample that could not be delivered.
type DeadLetter struct {
	ID          int64
	Device      string
	Name        string
	Tags        string // JSON object
	TimestampMS int64  // true time; see Timeline.MS
	Value       sql.NullFloat64
	Text        string // text series
	Type        ValueType
	Reason      string // a short fixed word
	Detail      string // the server's words, or ours
	Created     time.Time

	place sql.NullInt64 // key of the row that it was; none in letters of before version 7
}

var deadLetterColumns = fmt.Sprintf(`id, substr(device_id, 1, %[1]d), substr(name, 1, %[1]d), substr(tags, 1, %[1]d), timestamp_ms, value,
	substr(coalesce(value_text, ''), 1, %[1]d), value_type, substr(reason, 1, 100), substr(detail, 1, %[1]d), created_ms, row_key`, maxText)

// DeadLetters returns up to limit dead letters with an ID above after, in the order in
// which they came, of the given reasons; without any, of all.
func (r *Reader) DeadLetters(ctx context.Context, after int64, limit int, reasons ...string) ([]DeadLetter, error) {
	if len(reasons) == 0 {
		return readDeadLetters(ctx, r.db, "WHERE id > ? ORDER BY id LIMIT ?", after, limit)
	}
	wanted, err := json.Marshal(reasons)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return readDeadLetters(ctx, r.db, "WHERE id > ? AND reason IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
		after, string(wanted), limit)
}

// DeadLettersAt returns the dead letters whose samples are from fromMS to toMS,
// both inclusive, at most limit.
func (r *Reader) DeadLettersAt(ctx context.Context, fromMS, toMS int64, limit int) ([]DeadLetter, error) {
	return readDeadLetters(ctx, r.db, "WHERE timestamp_ms BETWEEN ? AND ? ORDER BY id LIMIT ?", fromMS, toMS, limit)
}

func readDeadLetters(ctx context.Context, q querier, where string, args ...any) ([]DeadLetter, error) {
	found, err := all(ctx, q, func(rows *sql.Rows) (l DeadLetter, err error) {
		var created int64
		err = rows.Scan(&l.ID, &l.Device, &l.Name, &l.Tags, &l.TimestampMS, &l.Value, &l.Text, &l.Type,
			&l.Reason, &l.Detail, &created, &l.place)
		l.Created = fromMS(created)
		return l, err
	}, "SELECT "+deadLetterColumns+" FROM dead_letters "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return found, nil
}

// retryDeadLetter makes the dead letter with this ID a pending row again. It
// stays a dead letter, and retried is false, when no request can ever carry it (a
// number without a value, a time no key can hold, a series that is not known) or when another row
// has its place.
func retryDeadLetter(ctx context.Context, w *writer, id int64) (retried bool, err error) {
	err = w.tx(ctx, unsynced, func(ctx context.Context, tx execer) error {
		retried = false
		found, err := readDeadLetters(ctx, tx, "WHERE id = ?", id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return errors.New("not found")
		}
		l := found[0]
		if l.Reason == UnknownSeries || l.Reason == DamagedSeries || l.Type == Text || !l.Value.Valid {
			return nil
		}
		ms, ok, err := l.fileTime(ctx, tx)
		if err != nil || !ok {
			return err
		}
		var series int64
		identity := seriesKey(l.Device, l.Name, l.Tags, l.Type)
		err = tx.QueryRowContext(ctx, "SELECT id FROM series WHERE dedup_key = ?", identity[:]).Scan(&series)
		if errors.Is(err, sql.ErrNoRows) {
			err = tx.QueryRowContext(ctx, `INSERT INTO series (dedup_key, name, tags, device_id, value_type)
				VALUES (?,?,?,?,?) RETURNING id`, identity[:], l.Name, l.Tags, l.Device, int(l.Type)).Scan(&series)
		}
		if err != nil {
			return err
		}
		key := int64(PackKey(ms, series))
		n, err := exec(ctx, tx, "INSERT INTO metrics (dedup_key, value) VALUES (?, ?) ON CONFLICT DO NOTHING", key, l.Value)
		if err != nil || n == 0 {
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

// fileTime returns the millisecond of the key that the letter's row had. An older letter has its
// true time only, and that may be of no key, or of one that a later epoch took.
func (l DeadLetter) fileTime(ctx context.Context, tx execer) (ms int64, ok bool, err error) {
	if l.place.Valid {
		return Key(l.place.Int64).TimestampMS(), true, nil
	}
	t, err := readTimeline(ctx, tx)
	if err != nil {
		return 0, false, err
	}
	ranges := t.Ranges(l.TimestampMS, l.TimestampMS)
	if len(ranges) == 0 {
		return 0, false, nil
	}
	return ranges[0].From.TimestampMS(), true, nil
}

// DeadLetters is the handle of a command that retries dead letters beside the running
// daemons. It can change nothing else, blocks no one and begins no session: each of
// its transactions is over in milliseconds.
type DeadLetters struct {
	reader
	w    *writer
	lock *openLock
}

// OpenDeadLetters opens the file at path, which must be there with the newest
// schema; errors are those of OpenReader.
func OpenDeadLetters(ctx context.Context, path string) (d *DeadLetters, err error) {
	l, err := lockBeside(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.release())
		}
	}()
	db, err := openExisting(ctx, path, url.Values{
		"mode": {"rw"}, "_synchronous": {"NORMAL"},
		"_pragma": {"wal_autocheckpoint(0)", "foreign_keys(1)"},
	}, readerConns, openBeside)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(ctx, db)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %q: %w", path, classify(err)), db.Close())
	}
	return &DeadLetters{reader: Reader{file: file{path, db}}, w: w, lock: l}, nil
}

// Retry makes the dead letter with this ID a pending row again, see retryDeadLetter.
func (d *DeadLetters) Retry(ctx context.Context, id int64) (retried bool, err error) {
	return retryDeadLetter(ctx, d.w, id)
}

// Close closes the file.
func (d *DeadLetters) Close() error {
	return errors.Join(d.w.close(), d.db.Close(), d.lock.release())
}
