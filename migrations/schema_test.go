package migrations_test

import (
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"belabox-metrics/migrations"
	_ "belabox-metrics/shared/store" // the driver, and the functions that the migrations call
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// TestSchema_AtEveryVersion compares the schema that each migration leaves with
// testdata/schema_vN.sql, where a reviewer sees what a version really is.
func TestSchema_AtEveryVersion(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "metrics.db"))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	for _, m := range migrations.All() {
		if _, err := db.Exec(m.SQL); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		golden := filepath.Join("testdata", fmt.Sprintf("schema_v%d.sql", m.Version))
		got := schema(t, db)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("schema %d differs from %s (go test ./migrations -update rewrites it):\n%s", m.Version, golden, got)
		}
	}
}

// schema is the text of everything in the file, sorted.
func schema(t *testing.T, db *sql.DB) string {
	t.Helper()
	var b strings.Builder
	var application int
	if err := db.QueryRow("PRAGMA application_id").Scan(&application); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "-- application_id %d\n", application)
	rows, err := db.Query("SELECT type, name, coalesce(sql, 'of table ' || tbl_name) FROM sqlite_schema ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind, name, text string
		if err := rows.Scan(&kind, &name, &text); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n-- %s %s\n%s\n", kind, name, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
