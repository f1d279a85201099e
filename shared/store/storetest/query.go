package storetest

import (
	"context"
	"database/sql"
	"testing"
)

// Query reads a database as a person would, beside the daemons, and calls scan for
// each row of the answer.
func Query(t testing.TB, path, text string, scan func(*sql.Rows) error) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()                                         //nolint:errcheck // it was only read
	rows, err := db.QueryContext(context.Background(), text) // a cleanup may ask too
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	for rows.Next() {
		if err := scan(rows); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
