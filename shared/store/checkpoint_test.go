package store

import (
	"testing"
	"time"
)

func TestCheckpoint(t *testing.T) {
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
	in := openInserter(t, options(path), time.Hour)
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
	mustExec(t, in.db, "PRAGMA busy_timeout = 50") // of the connection that checkpoints
	r, err := in.Checkpoint(t.Context())
	if err != nil || r.Complete || r.WALAfter != r.WALBefore {
		t.Errorf("with a reader: %+v, %v, want an incomplete one", r, err)
	}
	mustInsert(t, in, tick0.Add(2*time.Second), samples(series, 1))
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	r, err = in.Checkpoint(t.Context())
	if err != nil || !r.Complete || r.WALAfter != 0 {
		t.Errorf("after the reader: %+v, %v, want a complete one", r, err)
	}
	if got := queryInt(t, in.db, "SELECT count(*) FROM metrics"); got != 300 {
		t.Errorf("%d rows, want 300", got)
	}
}

func TestFileSizes_NoFile(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	if FileSize(path) != 0 || WALSize(path) != 0 {
		t.Errorf("a file that is not there has %d and %d bytes", FileSize(path), WALSize(path))
	}
}
