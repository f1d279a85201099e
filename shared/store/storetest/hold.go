// Package storetest helps tests of other packages to break a database file that
// they can reach by shared/store alone.
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
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)"}}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		db.Close() //nolint:errcheck // the first error counts
		t.Fatal(err)
	}
	release = func() {
		_ = tx.Rollback() // done already, if it is called twice
		_ = db.Close()
	}
	t.Cleanup(release)
	return release
}
