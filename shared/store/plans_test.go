package store

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestIndexCoverage_HotPath asserts how SQLite runs the statements of an upload,
// whose cost must not grow with the file. Any change shows here; see https://sqlite.org/eqp.html.
func TestIndexCoverage_HotPath(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	// Rows and chunks, and statistics about them, so that the planner has a choice.
	for tick := range 50 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(40), 1))
	}
	for range 10 {
		if err := ob.MarkUploaded(t.Context(), recordPending(t, ob, 50), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	f := func(name, query string, args int, want ...string) {
		t.Helper()
		values := make([]any, args)
		for i := range values {
			values[i] = "[]"
		}
		var got []string
		for _, l := range queryLines(t, ob.db, "EXPLAIN QUERY PLAN "+query, values...) {
			_, detail, _ := strings.Cut(l, `"`)
			got = append(got, strings.TrimRight(strings.TrimSuffix(detail, `"`), ":"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, "; "), strings.Join(want, "; "))
		}
	}
	check := func() {
		t.Helper()
		// "SCAN outbox" is a table of one row.
		f("pending rows", queryPending, 2, "SEARCH metrics USING INTEGER PRIMARY KEY (rowid>?)", "SCALAR SUBQUERY 1", "SCAN outbox")
		f("low-water mark", queryAdvance, 0, "SCAN outbox",
			"CORRELATED SCALAR SUBQUERY 1", "SEARCH metrics USING INTEGER PRIMARY KEY (rowid>?)",
			"CORRELATED SCALAR SUBQUERY 2", "SEARCH metrics USING INTEGER PRIMARY KEY (rowid>?)")
		f("mark a range", markRange, 3, "SEARCH metrics USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)")
		f("mark keys", markKeys, 2, "SEARCH metrics USING INTEGER PRIMARY KEY (rowid=?)", "LIST SUBQUERY 1", "SCAN json_each VIRTUAL TABLE INDEX 1")
		// The index holds the open chunks only, in the order wanted.
		f("open chunks", queryOpenChunks, 0, "SCAN upload_checkpoints USING INDEX upload_checkpoints_open")
	}
	check()
	mustExec(t, ob.db, "ANALYZE")
	check()
}
