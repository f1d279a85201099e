package store

import (
	"context"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// TestCheckpoint_ShrinksWAL: many rows make the WAL grow, a checkpoint empties it, and
// no row is lost by it.
func TestCheckpoint_ShrinksWAL(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	for name, checkpoint := range map[string]func() (CheckpointResult, error){
		"inserter": func() (CheckpointResult, error) { return in.Checkpoint(t.Context()) },
		"outbox":   func() (CheckpointResult, error) { return ob.Checkpoint(t.Context()) },
	} {
		mustExec(t, in.db, "DELETE FROM metrics")
		mustInsert(t, in, tick0, samples(numberSeries(500), 1))
		before, size := WALSize(path), FileSize(path)
		if before == 0 {
			t.Fatalf("%s: there is no WAL to copy", name)
		}
		r, err := checkpoint()
		if err != nil || !r.Complete || r.WALBefore != before || r.WALAfter != 0 || r.Duration <= 0 {
			t.Errorf("%s: got %+v, %v, want all of %d bytes copied", name, r, err, before)
		}
		if WALSize(path) != 0 || FileSize(path) < size {
			t.Errorf("%s: the WAL has %d bytes, the file %d", name, WALSize(path), FileSize(path))
		}
		if n := queryInt(t, in.db, "SELECT count(*) FROM metrics"); n != 500 {
			t.Errorf("%s: %d rows, want 500", name, n)
		}
		// With nothing to copy.
		if r, err = checkpoint(); err != nil || !r.Complete || r.WALBefore != 0 || r.WALAfter != 0 {
			t.Errorf("%s, again: got %+v, %v", name, r, err)
		}
	}
}

// TestCheckpoint_Reader: a reader keeps the WAL from being reset; inserts go on,
// and the next checkpoint takes the rest.
func TestCheckpoint_Reader(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	o.BusyTimeout = testkit.WaitLimit
	in := openInserter(t, o, time.Hour)
	series := numberSeries(100)
	mustInsert(t, in, tick0, samples(series, 1))
	reader := rawDB(t, path)
	rows, err := reader.Query("SELECT * FROM metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	mustInsert(t, in, tick0.Add(time.Second), samples(series, 1))
	// A reader that stays must not hold up a tick: inserts go on while checkpoints
	// are tried, none near the busy timeout.
	stop, inserted := make(chan struct{}), make(chan time.Duration)
	go func() {
		var longest time.Duration
		for i := 2; ; i++ {
			start := time.Now()
			if _, err := in.Insert(context.Background(), tick0.Add(time.Duration(i)*time.Second), samples(series, 1)); err != nil {
				t.Errorf("tick %d beside a checkpoint: %v", i, err)
			}
			longest = max(longest, time.Since(start))
			select {
			case <-stop:
				inserted <- longest
				return
			default:
			}
		}
	}()
	for range 2 {
		r, err := in.Checkpoint(t.Context())
		if err != nil || r.Complete || r.WALAfter < r.WALBefore {
			t.Errorf("with a reader: %+v, %v, want an incomplete one", r, err)
		}
	}
	close(stop)
	if longest := <-inserted; longest > testkit.WaitLimit/4 {
		t.Errorf("a tick was held up for %v", longest)
	}
	var timeout int64
	if err := in.db.QueryRow("PRAGMA busy_timeout").Scan(&timeout); err != nil || timeout != testkit.WaitLimit.Milliseconds() {
		t.Errorf("busy timeout afterwards: %d ms (%v), want %v", timeout, err, testkit.WaitLimit)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := in.Checkpoint(t.Context())
	if err != nil || !r.Complete || r.WALAfter != 0 {
		t.Errorf("after the reader: %+v, %v, want a complete one", r, err)
	}
	if got := queryInt(t, in.db, "SELECT count(*) FROM metrics"); got < 300 || got%100 != 0 {
		t.Errorf("%d rows, want whole ticks, three at least", got)
	}
}

func TestFileSizes_NoFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	if FileSize(path) != 0 || WALSize(path) != 0 {
		t.Errorf("a file that is not there has %d and %d bytes", FileSize(path), WALSize(path))
	}
}
