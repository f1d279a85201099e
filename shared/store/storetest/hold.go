// Package storetest helps tests of other packages to break a database file, or to look
// into it, where shared/store alone is not enough.
package storetest

import (
	"context"
	"database/sql"
	"net/url"
	"testing"

	_ "modernc.org/sqlite" // the driver
)

// Hold takes the write lock of a database, as a process does that writes for
// very long: everybody else gets store.ErrBusy. It ends with release, or with the
// test.
func Hold(t testing.TB, path string) (release func()) {
	t.Helper()
	return begin(t, path, "immediate")
}

// Read begins a transaction that reads, as a person does who leaves the sqlite3 shell
// open: the WAL cannot be emptied while it lasts. It ends as Hold does.
func Read(t testing.TB, path string) (release func()) {
	t.Helper()
	return begin(t, path, "deferred")
}

func begin(t testing.TB, path, mode string) (release func()) {
	t.Helper()
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_txlock": {mode}, "_pragma": {"busy_timeout(5000)"}}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		db.Close() //nolint:errcheck // the first error counts
		t.Fatal(err)
	}
	var n int // a transaction begins with its first statement, if not at once
	if err := tx.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		t.Error(err)
	}
	release = func() {
		_ = tx.Rollback() // done already, if it is called twice
		_ = db.Close()
	}
	t.Cleanup(release)
	return release
}
