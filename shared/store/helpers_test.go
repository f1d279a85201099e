package store

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/migrations"
)

// tester is what helpers need of *testing.T and *rapid.T.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// tick0 is when the tests' samples begin.
var tick0 = time.UnixMilli(1_700_000_000_000)

func newPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "metrics.db")
}

func options(path string) Options {
	return Options{Path: path, Daemon: "test", Version: "1.2.3"}
}

// openInserter opens a handle that is closed with the test, if the test does not
// close it.
func openInserter(t testing.TB, o Options, durability time.Duration) *Inserter {
	t.Helper()
	in, err := OpenInserter(t.Context(), o, durability)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.close() })
	return in
}

func openOutbox(t testing.TB, o Options) *Outbox {
	t.Helper()
	ob, err := OpenOutbox(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { abandon(ob) })
	return ob
}

// abandon closes a handle without a word in the file, as the kernel does it when
// a process is killed.
func abandon(ob *Outbox) {
	_ = ob.w.close()
	_ = ob.lock.file.Close()
	_ = ob.db.Close()
}

// rawDB is one plain connection beside the handles. It migrates nothing.
func rawDB(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(options(path), "NORMAL"))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

// migrateTo brings the file to an old version with the project's own scripts.
func migrateTo(t testing.TB, db *sql.DB, version int) {
	t.Helper()
	err := migrate(t.Context(), db, options("").withDefaults(), migrations.All()[:version], func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
}

func mustExec(t tester, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func queryInt(t tester, db *sql.DB, query string, args ...any) (n int64) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// queryLines renders each row of a result as its values, with their types, so
// that 1, 1.0 and '1' differ.
func queryLines(t tester, db *sql.DB, query string, args ...any) (lines []string) {
	t.Helper()
	rows, err := db.Query(query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		pointers := make([]any, len(columns))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		lines = append(lines, line(values...))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return lines
}

func line(values ...any) string {
	words := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case float64:
			words[i] = fmt.Sprintf("real %g", v)
		default:
			words[i] = fmt.Sprintf("%#v", v)
		}
	}
	return strings.Join(words, " | ")
}

// dump is everything in the file that SQL can see.
func dump(t tester, db *sql.DB) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, "version", queryInt(t, db, "PRAGMA user_version"), "application", queryInt(t, db, "PRAGMA application_id"))
	for _, object := range queryLines(t, db, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name") {
		fmt.Fprintln(&b, object)
	}
	rows, err := db.Query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
	if err != nil {
		t.Fatalf("list tables: %v", err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatalf("list tables: %v", err)
		}
		tables = append(tables, name)
	}
	if err := rows.Close(); err != nil {
		t.Fatalf("list tables: %v", err)
	}
	for _, name := range tables {
		fmt.Fprintln(&b, "table", name)
		lines := queryLines(t, db, "SELECT * FROM "+name)
		slices.Sort(lines)
		fmt.Fprintln(&b, strings.Join(lines, "\n"))
	}
	return b.String()
}

// diff shows the lines that only one of two texts has.
func diff(got, want string) string {
	var b strings.Builder
	count := map[string]int{}
	for l := range strings.Lines(want) {
		count[l]++
	}
	for l := range strings.Lines(got) {
		if count[l]--; count[l] < 0 {
			b.WriteString("got  " + l)
		}
	}
	for l := range strings.Lines(want) {
		if count[l] > 0 {
			count[l]--
			b.WriteString("want " + l)
		}
	}
	return b.String()
}

func checkIntegrity(t tester, db *sql.DB) {
	t.Helper()
	if got := queryLines(t, db, "PRAGMA integrity_check"); !slices.Equal(got, []string{`"ok"`}) {
		t.Errorf("integrity_check: %s", strings.Join(got, "\n"))
	}
}

// readFile returns the bytes of a file no handle of this process has open.
func readFile(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// listFolder names what stands in a folder.
func listFolder(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// series returns n number series of one device.
func numberSeries(n int) []*Series {
	all := make([]*Series, n)
	for i := range all {
		all[i] = NewSeries("device", fmt.Sprintf("metric.%d", i/4), Number, Tag{"part", fmt.Sprint(i % 4)})
	}
	return all
}

// samples gives each series a value.
func samples(series []*Series, value float64) []Sample {
	all := make([]Sample, len(series))
	for i, s := range series {
		all[i] = Sample{Series: s, Value: value + float64(i)}
	}
	return all
}

func mustInsert(t testing.TB, in *Inserter, ts time.Time, all []Sample) {
	t.Helper()
	r, err := in.Insert(t.Context(), ts, all)
	if want := (InsertResult{Inserted: len(all)}); err != nil || r != want {
		t.Fatalf("insert at %v: %+v, %v, want %+v", ts, r, err, want)
	}
}
