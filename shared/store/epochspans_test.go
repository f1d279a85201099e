package store

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestEpochSpans: the ends of each epoch are those of its rows, and of the rows that were pruned.
func TestEpochSpans(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
	series := NewSeries("dev", "m", Number)
	insert := func(ms int64) {
		t.Helper()
		if _, err := in.Insert(t.Context(), tick0.Add(time.Duration(ms)*time.Millisecond), []Sample{{Series: series}}); err != nil {
			t.Fatal(err)
		}
	}
	f := func(want ...string) {
		t.Helper()
		spans, err := ob.EpochSpans(t.Context())
		var got []string
		for _, s := range spans {
			got = append(got, fmt.Sprintf("%v %d to %d", s.Rows, s.FromMS-tick0.UnixMilli(), s.ToMS-tick0.UnixMilli()))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	start := -tick0.UnixMilli()
	f(fmt.Sprintf("false %d to %d", start, start))
	addEpochs(t, rawDB(t, path), Epoch{First: at(1000)}, Epoch{First: at(2000)}, Epoch{First: at(3000)})
	for _, ms := range []int64{1000, 1300, 1999, 3000, 3005} {
		insert(ms)
	}
	f(fmt.Sprintf("false %d to %d", start, start), "true 1000 to 1999", "false 2000 to 2000", "true 3000 to 3005")
	rawExec := rawDB(t, path)
	mustExec(t, rawExec, "INSERT INTO ledger VALUES ('pruned_through', ?)", int64(at(1300)))
	mustExec(t, rawExec, "DELETE FROM metrics WHERE dedup_key < ?", int64(at(1999)))
	f(fmt.Sprintf("true %d to 999", start), "true 1000 to 1999", "false 2000 to 2000", "true 3000 to 3005")
}
