package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"
)

// Letters is the handle of a command that retries dead letters beside the
// running daemons. It can change nothing else, holds nobody up and begins no
// session: to the daemons its transactions are those of a neighbour, each over
// in milliseconds.
type Letters struct {
	ob   *Outbox
	door *door
}

// OpenLetters opens the file at path, which must be there with the newest
// schema; errors are those of OpenReader.
func OpenLetters(ctx context.Context, path string) (l *Letters, err error) {
	d, err := beside(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.leave())
		}
	}()
	db, err := openExisting(ctx, path, url.Values{
		"mode": {"rw"}, "_txlock": {"immediate"}, "_synchronous": {"NORMAL"},
		"_pragma": {"wal_autocheckpoint(0)", "foreign_keys(1)"},
	}, outboxConns)
	if err != nil {
		return nil, err
	}
	ob := &Outbox{
		o:  Options{Path: path, Log: slog.New(slog.DiscardHandler), Now: time.Now},
		db: db, series: map[int64]*SeriesInfo{},
	}
	if ob.w, err = newWriter(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %q: %w", path, classify(err)), db.Close())
	}
	return &Letters{ob, d}, nil
}

// DeadLetters is Outbox.DeadLetters.
func (l *Letters) DeadLetters(ctx context.Context, after int64, limit int) ([]DeadLetter, error) {
	return l.ob.DeadLetters(ctx, after, limit)
}

// Retry is Outbox.RetryDeadLetter.
func (l *Letters) Retry(ctx context.Context, id int64) (retried bool, err error) {
	return l.ob.RetryDeadLetter(ctx, id)
}

// Close closes the file.
func (l *Letters) Close() error {
	return errors.Join(l.ob.w.close(), l.ob.db.Close(), l.door.leave())
}
