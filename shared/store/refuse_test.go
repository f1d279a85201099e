package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/migrations"
)

// openers are the ways into a file.
var openers = map[string]func(t *testing.T, o Options) error{
	"Migrate": func(t *testing.T, o Options) error { return Migrate(t.Context(), o) },
	"OpenInserter": func(t *testing.T, o Options) error {
		in, err := OpenInserter(t.Context(), o, 0)
		if err == nil {
			err = in.Close(t.Context())
		}
		return err
	},
	"OpenOutbox": func(t *testing.T, o Options) error {
		ob, err := OpenOutbox(t.Context(), o)
		if err == nil {
			err = ob.Close(t.Context())
		}
		return err
	},
}

// checkRefused opens the file in every way and wants the error each time, and
// the file and its folder as they were, but for lock files.
func checkRefused(t *testing.T, path string, want error) {
	t.Helper()
	content, names := readFile(t, path), listFolder(t, filepath.Dir(path))
	for name, open := range openers {
		err := open(t, options(path))
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		} else if !strings.HasPrefix(err.Error(), fmt.Sprintf("open store %q: ", path)) {
			t.Errorf("%s: the error does not say which file: %v", name, err)
		}
	}
	if readFile(t, path) != content {
		t.Error("the file was changed")
	}
	for _, name := range listFolder(t, filepath.Dir(path)) {
		if !strings.HasSuffix(name, ".lock") && !slices.Contains(names, name) {
			t.Errorf("%q is new in the folder", name)
		}
	}
}

func TestOpen_NewerFile(t *testing.T) {
	t.Parallel()
	for _, version := range []int{migrations.Newest() + 1, 99} {
		path := newPath(t)
		in := openInserter(t, options(path), 0)
		mustInsert(t, in, tick0, samples(numberSeries(3), 1))
		if err := in.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		db := rawDB(t, path)
		mustExec(t, db, fmt.Sprintf("PRAGMA user_version = %d", version))
		db.Close()
		checkRefused(t, path, ErrNewer)
		err := Migrate(t.Context(), options(path))
		if want := fmt.Sprintf("schema %d, this program supports %d", version, migrations.Newest()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// TestOpen_ForeignFile opens files of other programs, in the journal mode in
// which other programs leave them.
func TestOpen_ForeignFile(t *testing.T) {
	t.Parallel()
	const ourColumns = "timestamp_ms INTEGER, name TEXT, value REAL, tags TEXT, device_id TEXT"
	for name, statements := range map[string][]string{
		"tables without a version":        {"CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('x')"},
		"a mark":                          {"PRAGMA application_id = 1", "PRAGMA user_version = 3", "CREATE TABLE notes (text)"},
		"a mark and no tables":            {"PRAGMA application_id = 1"},
		"a version and no tables":         {"PRAGMA user_version = 7"},
		"a version and other tables":      {"PRAGMA user_version = 3", "CREATE TABLE notes (text)"},
		"metrics of another shape":        {"PRAGMA user_version = 1", "CREATE TABLE metrics (id INTEGER PRIMARY KEY, name TEXT, value REAL)"},
		"metrics without a version":       {"CREATE TABLE metrics (" + ourColumns + ")"},
		"version 6 without our mark":      {"PRAGMA user_version = 6", "CREATE TABLE metrics (" + ourColumns + ")"},
		"our mark with version 0":         {fmt.Sprint("PRAGMA application_id = ", applicationID)},
		"our mark with an old version":    {fmt.Sprint("PRAGMA application_id = ", applicationID), "PRAGMA user_version = 5"},
		"our mark with version minus one": {fmt.Sprint("PRAGMA application_id = ", applicationID), "PRAGMA user_version = -1"},
		"a version below zero":            {"PRAGMA user_version = -1", "CREATE TABLE metrics (" + ourColumns + ")"},
		"WAL mode":                        {"PRAGMA journal_mode = WAL", "CREATE TABLE notes (text)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range statements {
				mustExec(t, db, s)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			checkRefused(t, path, ErrForeign)
		})
	}
}

// TestOpen_EmptyFile has a file of no bytes, as touch(1) makes it.
func TestOpen_EmptyFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustInsert(t, openInserter(t, options(path), 0), tick0, samples(numberSeries(3), 1))
}
