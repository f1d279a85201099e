package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"belabox-metrics/docker/receiver/internal/line"
)

func TestOpen_KeepsAll(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for round := range 3 {
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, s, query(t, everything)).samples(); got != round*10 {
			t.Errorf("opened for the %d. time: got %d samples, want %d", round+1, got, round*10)
		}
		write(t, s, series(fmt.Sprintf("m%d", round), "d", 1, 10))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// The last checkpoint leaves one file and the lock file, which stays.
		files, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 2 {
			t.Errorf("closed store: got files %v", files)
		}
	}
}

// Odd names must reach SQLite as they are.
func TestOpen_Names(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "100%.db", "what?.db", "a#b.db", "a%41.db", "ä&_pragma=x.db", "file:x"} {
		path := filepath.Join(t.TempDir(), name)
		s := newStore(t, path)
		write(t, s, series("a", "d", 1, 1))
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOpen_SecondCopy(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := newStore(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		_, err := Open(name)
		want := fmt.Sprintf("open store %q: process %d has it open (lock file %q)", name, os.Getpid(), path+".lock")
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newStore(t, link)
}

func TestOpen_Refused(t *testing.T) {
	t.Parallel()
	// database makes a SQLite file with the given statements.
	database := func(t *testing.T, statements string) string {
		path := newPath(t)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statements); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := func(t *testing.T, text string) string {
		path := newPath(t)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, want string
		path       func(t *testing.T) string
	}{
		{"text", "is not a SQLite file; it was left as it is", func(t *testing.T) string {
			return file(t, "listen: 127.0.0.1:8428\n")
		}},
		{"short", "is not a SQLite file", func(t *testing.T) string { return file(t, "x") }},
		{"damaged", "it was left as it is", func(t *testing.T) string {
			return file(t, "SQLite format 3\x00"+strings.Repeat("\xff", 5000))
		}},
		{"foreign", "belongs to another program (application_id 0x1, want 0x624d7278)", func(t *testing.T) string {
			return database(t, "PRAGMA application_id = 1; PRAGMA user_version = 1; CREATE TABLE series (id)")
		}},
		{"foreign without an id", "belongs to another program (application_id 0x0", func(t *testing.T) string {
			return database(t, "CREATE TABLE samples (id)")
		}},
		{"foreign in WAL mode", "belongs to another program", func(t *testing.T) string {
			return database(t, "PRAGMA journal_mode = WAL; CREATE TABLE samples (id)")
		}},
		{"newer", "schema 3 is newer than this receiver's 2", func(t *testing.T) string {
			return database(t, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 3", applicationID))
		}},
		{"folder", "is not a regular file", func(t *testing.T) string { return t.TempDir() }},
		{"no folder", "there is no folder", func(t *testing.T) string {
			return filepath.Join(t.TempDir(), "missing", "receiver.db")
		}},
		{"no name", "the name is empty", func(t *testing.T) string { return "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := c.path(t)
			before, _ := os.ReadFile(path)
			s, err := Open(path)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("open store %q: ", path)) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
			// It must not be locked either.
			if _, again := Open(path); again == nil || again.Error() != err.Error() {
				t.Errorf("a second time: got %v, want %v", again, err)
			}
		})
	}
}

// An empty file, and one from a receiver that was killed before it made its tables, are made ready.
func TestOpen_Unfinished(t *testing.T) {
	t.Parallel()
	for _, statements := range []string{"", "PRAGMA journal_mode = WAL"} {
		path := newPath(t)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(statements); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, newStore(t, path), series("a", "d", 1, 1))
	}
}

func TestOpen_Settings(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	f := func(q interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}, pragma, want string,
	) {
		t.Helper()
		var got string
		if err := q.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", pragma, got, err, want)
		}
	}
	f(s.writer.conn, "journal_mode", "wal")
	f(s.writer.conn, "synchronous", "2") // FULL
	f(s.writer.conn, "busy_timeout", "2000")
	f(s.writer.conn, "application_id", fmt.Sprint(applicationID))
	f(s.writer.conn, "user_version", "2")
	f(s.read, "query_only", "1")
	f(s.read, "busy_timeout", "2000")

	// Versions before 3.51.3 can damage a file in WAL mode: https://www.sqlite.org/wal.html#walresetbug
	var version string
	if err := s.read.QueryRow("SELECT sqlite_version()").Scan(&version); err != nil {
		t.Fatal(err)
	}
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		t.Fatal(err)
	}
	if major*1_000_000+minor*1_000+patch < 3_051_003 {
		t.Errorf("got SQLite %s, want 3.51.3 or newer", version)
	}
}

// Lookups must go by index: a full scan of a fleet's series for each chunk would stop everything.
func TestOpen_QueryPlans(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	f := func(text, want string, args ...any) {
		t.Helper()
		rows, err := s.read.Query("EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var plan strings.Builder
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(detail + "; ")
		}
		if got := plan.String(); !strings.Contains(got, want) || strings.Contains(got, "SCAN") || strings.Contains(got, "TEMP B-TREE") {
			t.Errorf("%s: got plan %q, want %q", text, got, want)
		}
	}
	f(`SELECT id FROM series WHERE metric = ?`, "(metric=?)", "x")
	f(`SELECT id, metric FROM series WHERE id > ? AND device_id = ? ORDER BY id LIMIT ?`,
		"series_by_device (device_id=? AND rowid>?)", 0, "d", 5)
	f(`SELECT id, metric FROM series WHERE id > ? AND name = ? ORDER BY id LIMIT ?`,
		"series_by_name (name=? AND rowid>?)", 0, "a", 5)
	f(`SELECT timestamp_ms, value FROM samples WHERE series_id = ? AND timestamp_ms BETWEEN ? AND ?
		ORDER BY timestamp_ms LIMIT ?`, "(series_id=? AND timestamp_ms>? AND timestamp_ms<?)", 1, 2, 3, 4)
	f(pruneSamples, "(series_id=? AND timestamp_ms<?)", 1, 2, 3)
	f(pruneSeries, "(series_id=?)", 1)
}

func TestClose_ThenRefuses(t *testing.T) {
	t.Parallel()
	s, err := Open(newPath(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(context.Background(), []line.Line{series("a", "d", 1, 1)}); !errors.Is(err, ErrClosed) {
		t.Errorf("write: got %v, want %v", err, ErrClosed)
	}
	if err := s.Select(context.Background(), query(t, everything), nil); err == nil {
		t.Error("select: got no error")
	}
	if _, err := s.Prune(context.Background(), t0); err == nil {
		t.Error("prune: got no error")
	}
}
