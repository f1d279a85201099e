package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"testing"
	"time"
)

// TestMany_Ends: a row of another type is damage, and the end of ctx is not.
func TestMany_Ends(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	mustInsert(t, in, tick0, samples(numberSeries(3), 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for query, damaged := range map[string]bool{
		"SELECT dedup_key, value FROM metrics":                  false,
		"SELECT dedup_key, NULL FROM metrics":                   false,
		"SELECT dedup_key, 'text' FROM metrics":                 true,
		"SELECT value, value FROM metrics":                      true,
		"SELECT NULL, value FROM metrics":                       true,
		"SELECT dedup_key, value FROM metrics LIMIT 'no limit'": true,
	} {
		rows, err := many(ctx, in.db, readRow, query)
		if errors.Is(err, ErrDamaged) != damaged || err == nil && len(rows) != 3 {
			t.Errorf("%s: %d rows, %v", query, len(rows), err)
		}
	}
	for mark, damaged := range map[int64]bool{0: false, 1: false, 2: true} {
		if _, err := many(ctx, in.db, readState, "SELECT dedup_key, ?, 0 FROM metrics", mark); errors.Is(err, ErrDamaged) != damaged {
			t.Errorf("mark %d: %v", mark, err)
		}
	}
	read := 0
	_, err := many(ctx, in.db, func([]driver.Value) (int, error) {
		read++
		cancel()
		return 0, nil
	}, "SELECT dedup_key FROM metrics")
	if !errors.Is(err, context.Canceled) || read != 1 {
		t.Errorf("canceled in the first row: %v after %d rows", err, read)
	}
}
