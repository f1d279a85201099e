package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// openConn opens a new file with one table, and one connection to it.
func openConn(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := openDB(dsn(options(path), "NORMAL"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(c.Close(), db.Close()) })
	execOn(t, c, "PRAGMA journal_mode = WAL")
	execOn(t, c, "CREATE TABLE IF NOT EXISTS numbers (n INTEGER PRIMARY KEY, parent INTEGER REFERENCES numbers(n) DEFERRABLE INITIALLY DEFERRED)")
	return c
}

func execOn(t *testing.T, c *sql.Conn, query string, args ...any) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func kept(t *testing.T, c *sql.Conn) (queries []string) {
	t.Helper()
	err := c.Raw(func(c any) error {
		for _, s := range c.(*conn).kept {
			queries = append(queries, s.query)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return queries
}

const (
	queryAdd     = "INSERT INTO numbers (n) VALUES (?)"
	queryNumbers = "SELECT n FROM numbers ORDER BY n"
)

// TestConn_SameTextInside reads rows while the same query is run for each of them.
func TestConn_SameTextInside(t *testing.T) {
	t.Parallel()
	c := openConn(t, newPath(t))
	for n := range 3 {
		execOn(t, c, queryAdd, n)
	}
	var pairs [][2]int
	for range 2 { // the second time with statements that are kept
		pairs = nil
		err := each(t.Context(), c, func(outer *sql.Rows) error {
			var pair [2]int
			if err := outer.Scan(&pair[0]); err != nil {
				return err
			}
			return each(t.Context(), c, func(inner *sql.Rows) error {
				err := inner.Scan(&pair[1])
				pairs = append(pairs, pair)
				return err
			}, queryNumbers)
		}, queryNumbers)
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "[[0 0] [0 1] [0 2] [1 0] [1 1] [1 2] [2 0] [2 1] [2 2]]"; fmt.Sprint(pairs) != want {
		t.Errorf("got %v, want %s", pairs, want)
	}
	if got := kept(t, c); len(got) != 3 { // the INSERT, and the query twice
		t.Errorf("kept %q", got)
	}
}

// TestConn_PragmaAgain: SQLite carries this one out while it prepares it.
func TestConn_PragmaAgain(t *testing.T) {
	t.Parallel()
	c := openConn(t, newPath(t))
	for range 2 {
		for _, want := range []int{2, 1} {
			execOn(t, c, fmt.Sprintf("PRAGMA synchronous = %d", want))
			var got int
			if err := c.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got); err != nil || got != want {
				t.Errorf("synchronous is %d, want %d: %v", got, want, err)
			}
		}
	}
}

func TestConn_KeepsTheLast(t *testing.T) {
	t.Parallel()
	c := openConn(t, newPath(t))
	for n := range 3 * keptStatements {
		execOn(t, c, queryAdd, n)
		execOn(t, c, fmt.Sprintf("DELETE FROM numbers WHERE n = -%d", n))
	}
	got := kept(t, c)
	if len(got) != keptStatements || got[len(got)-2] != queryAdd {
		t.Errorf("kept %d: %q", len(got), got)
	}
}

// TestConn_AfterErrors: neither a statement nor a transaction that failed is in the way of the
// next.
func TestConn_AfterErrors(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	c := openConn(t, path)
	commits := func(fails bool, query string, args ...any) {
		t.Helper()
		tx, err := c.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); (err != nil) != fails {
			t.Errorf("%s: commit: %v", query, err)
		}
	}
	for n := range 3 {
		commits(false, queryAdd, n)
		if _, err := c.ExecContext(t.Context(), queryAdd, n); err == nil {
			t.Errorf("%d was inserted twice", n)
		}
		commits(true, "INSERT INTO numbers (n, parent) VALUES (10, 11)") // COMMIT finds out
	}

	other := openConn(t, path)
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.BeginTx(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("begin beside another transaction: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	commits(false, queryAdd, 3)
	if n, err := all(t.Context(), other, scanOne[int], queryNumbers); err != nil || fmt.Sprint(n) != "[0 1 2 3]" {
		t.Errorf("got %v, %v", n, err)
	}
}

// TestConn_Closes: the last connection takes the WAL along, unless it is not really closed.
func TestConn_Closes(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db, err := openDB(dsn(options(path), "NORMAL"))
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"PRAGMA journal_mode = WAL", "CREATE TABLE numbers (n)", "INSERT INTO numbers VALUES (1)"} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	if WALSize(path) == 0 {
		t.Fatal("there is no WAL")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the WAL is still there: %v", err)
	}
}
