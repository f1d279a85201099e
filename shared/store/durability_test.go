package store

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"
)

// checkSync compares what the writing connection really has with what the writer
// believes and with what the caller wants.
func checkSync(t *testing.T, w *writer, want bool) {
	t.Helper()
	var mode int
	if err := w.conn.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&mode); err != nil {
		t.Fatal(err)
	}
	if full := mode == 2; full != want || w.full != want {
		t.Errorf("synchronous is %d, the writer says full = %v, want %v", mode, w.full, want)
	}
}

func TestDurability_Zero(t *testing.T) {
	t.Parallel()
	in := openInserter(t, options(newPath(t)), 0)
	series := numberSeries(3)
	for tick := range 3 {
		before := time.Now()
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(series, 1))
		checkSync(t, in.w, true)
		if in.w.lastSync.Before(before) {
			t.Errorf("tick %d is not noted as synced", tick)
		}
	}
}

func TestDurability_SyncsWhenTheLastOneIsOld(t *testing.T) {
	t.Parallel()
	const durability = 10 * time.Minute
	in := openInserter(t, options(newPath(t)), durability)
	series := numberSeries(3)
	tick := tick0
	insert := func(wantSync bool) {
		t.Helper()
		tick = tick.Add(time.Second)
		before := in.w.lastSync
		mustInsert(t, in, tick, samples(series, 1))
		checkSync(t, in.w, wantSync)
		if moved := in.w.lastSync.After(before); moved != wantSync {
			t.Errorf("lastSync moved: %v, want %v", moved, wantSync)
		}
	}
	insert(true) // a killed process may have left commits that are not
	insert(false)
	in.w.lastSync = time.Now().Add(-durability + time.Minute)
	insert(false)
	in.w.lastSync = time.Now().Add(-durability)
	insert(true)
	insert(false)
	in.w.lastSync = time.Now().Add(-time.Hour)
	insert(true)
	insert(false)
}

// TestDurability_FailureIsNoSync: a transaction that was to be synced and failed
// must not put the next sync off.
func TestDurability_FailureIsNoSync(t *testing.T) {
	t.Parallel()
	in := openInserter(t, options(newPath(t)), time.Minute)
	old := time.Now().Add(-time.Hour)
	in.w.lastSync = old
	boom := errors.New("boom")
	err := in.w.tx(t.Context(), time.Minute, func(context.Context, execer) error { return boom })
	if !errors.Is(err, boom) || err.Error() != "boom" {
		t.Errorf("got %v, want %v", err, boom)
	}
	if in.w.lastSync != old {
		t.Error("a failed transaction counts as synced")
	}
	mustInsert(t, in, tick0, samples(numberSeries(3), 1))
	checkSync(t, in.w, true)
}

// TestDurability_Outbox: only what must be on the disk before a byte leaves is
// synced.
func TestDurability_Outbox(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	mustInsert(t, in, tick0, samples(numberSeries(3), 1))
	checkSync(t, ob.w, false)
	c := recordPending(t, ob, 10)
	checkSync(t, ob.w, true)
	if err := ob.MarkUploaded(t.Context(), c, nil, nil); err != nil {
		t.Fatal(err)
	}
	checkSync(t, ob.w, false)
}

// TestWriter_UseAfterFailure: whatever a transaction fails of, the next one works.
func TestWriter_UseAfterFailure(t *testing.T) {
	t.Parallel()
	ob := openOutbox(t, options(newPath(t)))
	insert := func(ctx context.Context, tx execer) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('d', 'n', '', 'counter', 0, 0)")
		return err
	}
	boom := errors.New("boom")
	failures := map[string]func(ctx context.Context, tx execer) error{
		"own error":        func(ctx context.Context, tx execer) error { return errors.Join(insert(ctx, tx), boom) },
		"broken statement": func(ctx context.Context, tx execer) error { _, err := tx.ExecContext(ctx, "nonsense"); return err },
		"constraint":       func(ctx context.Context, tx execer) error { return errors.Join(insert(ctx, tx), insert(ctx, tx)) },
		"ended inside": func(ctx context.Context, tx execer) error {
			_, err := tx.ExecContext(ctx, "ROLLBACK")
			return errors.Join(err, boom)
		},
	}
	for name, fn := range failures {
		if err := ob.w.tx(t.Context(), unsynced, fn); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := queryInt(t, ob.db, "SELECT count(*) FROM daemon_stats"); got != 0 {
			t.Errorf("%s: %d rows, want none", name, got)
		}
	}
	if err := ob.w.tx(t.Context(), unsynced, insert); err != nil {
		t.Error(err)
	}
	if got := queryInt(t, ob.db, "SELECT count(*) FROM daemon_stats"); got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
}

// TestWriter_Panic: a panic takes its transaction back, also while rows are read, and is in nobody's
// way.
func TestWriter_Panic(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
	for range 2 { // the second time with statements that are kept
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_ = in.w.tx(t.Context(), nothing, func(ctx context.Context, tx execer) error {
				if _, err := exec(ctx, tx, "INSERT INTO daemon_stats (daemon, name, tags, kind, value, updated_ms) VALUES ('d', 'n', '', 'counter', 0, 0)"); err != nil {
					return err
				}
				return each(ctx, tx, func(*sql.Rows) error { panic("of a row") }, "SELECT name FROM daemon_stats")
			})
		}()
		for name, save := range map[string]func(context.Context, []Stat) error{"collectord": in.SaveStats, "shipperd": ob.SaveStats} {
			if err := save(t.Context(), nil); err != nil {
				t.Errorf("%s, after it: %v", name, err)
			}
		}
		if n := queryInt(t, ob.db, "SELECT count(*) FROM daemon_stats"); n != 0 {
			t.Errorf("%d rows, want none", n)
		}
	}
}

// TestDurability_ShipperSyncs: a chunk record is on the disk before anything is
// sent, and with it all ticks before. So these need no sync of their own.
func TestDurability_ShipperSyncs(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Minute), openOutbox(t, options(path))
	tick := 0
	insert := func() {
		t.Helper()
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(3), 1))
		tick++
	}
	insert()
	long := time.Now().Add(-50 * time.Second)
	in.w.lastSync = long
	insert()
	insert()
	if in.w.lastSync != long {
		t.Error("lastSync moved without a chunk")
	}
	before := time.Now()
	rows, err := ob.Pending(t.Context(), 0, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &Chunk{BatchID: "b", Created: tick0, Keys: KeySet{rows[0].Key, rows[1].Key, rows[2].Key}}
	if err := ob.RecordSending(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	insert() // sees it
	if !in.w.lastSync.After(long) || in.w.lastSync.After(before) {
		t.Errorf("lastSync is %v, want the time of the last tick before the record, at most %v", in.w.lastSync, before)
	}
	moved := in.w.lastSync
	insert()
	if in.w.lastSync != moved || in.w.full {
		t.Error("a record counts once")
	}
	// So every new record must be synced.
	ob.w.lastSync = long
	if _, err := ob.Split(t.Context(), c, c.Keys[:1], "part"); err != nil {
		t.Fatal(err)
	}
	insert()
	if in.w.lastSync == moved || ob.w.lastSync == long {
		t.Error("want a sync with the record of a part")
	}
}
