package store

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// fill inserts ticks until the file is full and returns the number of the first
// one that did not fit.
func fill(t *testing.T, in *Inserter, series []*Series) (tick int) {
	t.Helper()
	for tick := range 10_000 {
		_, err := in.Insert(t.Context(), tick0.Add(time.Duration(tick)*time.Second), samples(series, 1))
		if errors.Is(err, ErrFull) {
			return tick
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the file never gets full")
	return 0
}

// TestInsert_Full: a tick that does not fit leaves no trace, in the file or in
// memory, and can be inserted again when there is room.
func TestInsert_Full(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	o.MaxPages = 120
	in := openInserter(t, o, time.Hour)
	old := numberSeries(100)
	failed := tick0.Add(time.Duration(fill(t, in, old)) * time.Second)
	db := rawDB(t, path)
	before := dump(t, db)

	// The tick with new series: those get ids, and lose them again.
	all := append(numberSeries(170)[100:], old...)
	for range 3 {
		r, err := in.Insert(t.Context(), failed, samples(all, 7))
		if !errors.Is(err, ErrFull) || r != (InsertResult{}) {
			t.Fatalf("got %+v, %v, want ErrFull", r, err)
		}
	}
	if after := dump(t, db); after != before {
		t.Errorf("the failed inserts changed the file:\n%s", diff(after, before))
	}
	for i, s := range all {
		if isNew := i < 70; isNew != (s.id == 0) {
			t.Errorf("series %d has id %d", i, s.id)
		}
	}
	checkConsistent(t, db)

	// Room: the oldest ticks go. Another series takes the first of the ids that
	// were given and taken back.
	mustExec(t, db, "DELETE FROM metrics WHERE dedup_key < ?", int64(PackKey(tick0.Add(20*time.Second).UnixMilli(), 0)))
	other := NewSeries("device", "other", Number)
	mustInsert(t, in, failed, []Sample{{Series: other, Value: 42}})
	mustInsert(t, in, failed, samples(all, 7))
	for i, s := range all {
		got := queryLines(t, db, "SELECT value FROM metric_rows WHERE timestamp_ms = ? AND device_id = ? AND name = ? AND tags = ?",
			failed.UnixMilli(), s.Device, s.Name, s.Tags)
		if len(got) != 1 || got[0] != line(7+float64(i)) {
			t.Errorf("series %d: got %v, want %v", i, got, 7+float64(i))
		}
	}
	if got := queryInt(t, db, "SELECT value FROM metric_rows WHERE name = 'other'"); got != 42 {
		t.Errorf("the other series has %d, want 42", got)
	}
	checkConsistent(t, db)
	checkIntegrity(t, db)
}

// TestInsert_FullForDays: on a disk that stays full the file goes round: what is
// proven is pruned, a checkpoint empties the WAL into the pages that are free,
// ticks are stored again, and chunks recorded. Nothing that is pending goes for it.
func TestInsert_FullForDays(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	o.MaxPages = 200
	in, ob := openInserter(t, o, time.Hour), openOutbox(t, o)
	series := numberSeries(100)
	tick, stored, pruned := 0, 0, 0
	insert := func() error {
		_, err := in.Insert(t.Context(), tick0.Add(time.Duration(tick)*time.Second), samples(series, 1))
		tick++
		if err == nil {
			stored++
		}
		return err
	}
	for range 20 {
		if err := insert(); err != nil {
			t.Fatal(err)
		}
	}
	full, rounds := 0, 0
	for ; rounds < 20; rounds++ {
		c := recordPending(t, ob, 1000)
		if err := errors.Join(ob.MarkUploaded(t.Context(), c, nil, nil), ob.MarkVerified(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; { // until the disk is full
			if err = insert(); err != nil && !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
		}
		full++
		n, err := ob.Prune(t.Context(), time.UnixMilli(MaxTimestampMS), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		pruned += n
		if r, err := in.Checkpoint(t.Context()); err != nil || !r.Complete {
			t.Fatalf("a checkpoint on a full disk: %+v, %v", r, err)
		}
	}
	rows := int(queryInt(t, in.db, "SELECT count(*) FROM metrics"))
	if rows != stored*len(series)-pruned {
		t.Errorf("%d rows, want %d stored less %d pruned", rows, stored*len(series), pruned)
	}
	if full != rounds || pruned < 15_000 {
		t.Errorf("full in %d of %d rounds, %d rows pruned: it did not go round", full, rounds, pruned)
	}
	checkConsistent(t, in.db)
	checkLedger(t, ob)
}

// TestInsert_FailedCommit lets the last step of a transaction fail, the writing
// of the WAL. It takes another process, for it limits the size of all its files.
func TestInsert_FailedCommit(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	child := startJob(t, "fail-commit", path, "")
	if code := child.Wait(testkit.WaitLimit); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	db := rawDB(t, path)
	if got := queryInt(t, db, "SELECT count(*) FROM metrics"); got != 3*200 {
		t.Errorf("%d rows, want 600", got)
	}
	if got := queryInt(t, db, "SELECT count(*) FROM series"); got != 200 {
		t.Errorf("%d series, want 200", got)
	}
	checkConsistent(t, db)
	checkIntegrity(t, db)
}

func failCommit(path, _ string) error {
	in, err := OpenInserter(background, options(path), 0)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // the limit shall be an error, not the end
	var normal syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &normal); err != nil {
		return err
	}
	series := numberSeries(200)
	for tick := range 3 {
		ts := tick0.Add(time.Duration(tick) * time.Second)
		few := normal
		few.Cur = uint64(WALSize(path) + 2000)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &few); err != nil {
			return err
		}
		r, err := in.Insert(background, ts, samples(series, 1))
		if err == nil {
			return fmt.Errorf("tick %d: %+v and no error", tick, r)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &normal); err != nil {
			return err
		}
		r, err = in.Insert(background, ts, samples(series, 1))
		if err != nil || r.Inserted != len(series) {
			return fmt.Errorf("tick %d, after the failure: %+v, %w", tick, r, err)
		}
	}
	return in.Close(background)
}
