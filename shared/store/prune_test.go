package store

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// deliverAll records, marks and verifies rows.
func (d *delivery) deliverAll(keys ...Key) *Chunk {
	d.t.Helper()
	c := d.record(true, keys...)
	d.do(d.ob.MarkUploaded(d.t.Context(), c, nil, nil))
	d.do(d.ob.MarkVerified(d.t.Context(), c))
	return c
}

// prune wants n rows gone.
func (d *delivery) prune(before time.Time, limit, n int) {
	d.t.Helper()
	got, err := d.ob.Prune(d.t.Context(), before, limit)
	if err != nil || got != n {
		d.t.Errorf("prune before %v, at most %d: %d, %v, want %d", before, limit, got, err, n)
	}
	checkConsistent(d.t, d.db)
	checkLedger(d.t, d.ob)
}

func (d *delivery) rows() (keys KeySet) {
	d.t.Helper()
	rows, err := d.ob.Rows(d.t.Context(), d.all)
	d.do(err)
	for _, r := range rows {
		keys = append(keys, r.Key)
	}
	return keys
}

func TestPrune(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	later := tick0.Add(24 * time.Hour)
	d.prune(later, 1000, 0) // nothing is delivered
	d.deliverAll(d.all[:25]...)
	d.prune(time.Time{}, 1000, 0)
	d.prune(tick0.Add(-time.Second), 1000, 0)
	d.prune(tick0, 1000, 0)
	d.prune(tick0.Add(time.Millisecond), 4, 4)
	d.prune(tick0.Add(time.Millisecond), 1000, 6)
	if got := d.rows(); !slices.Equal(got, d.all[10:]) {
		t.Errorf("rows %v, want %v", got, d.all[10:])
	}
	if got := queryInt(t, d.db, "SELECT count(*) FROM upload_checkpoints"); got != 1 {
		t.Errorf("%d chunks, want the one with rows in the file", got)
	}
	// A pending row keeps its tick.
	d.prune(time.UnixMilli(MaxTimestampMS+1000), 1000, 10)
	if got := d.rows(); !slices.Equal(got, d.all[20:]) {
		t.Errorf("rows %v, want the ticks of pending ones %v", got, d.all[20:])
	}
	// With nothing pending the last row goes too.
	d.deliverAll(d.all[25:]...)
	d.prune(later, 1000, 20)
	if got := queryInt(t, d.db, "SELECT count(*) FROM upload_checkpoints"); got != 0 {
		t.Errorf("%d chunks without rows", got)
	}
	if got := queryInt(t, d.db, "SELECT count(*) FROM metrics"); got != 0 {
		t.Errorf("%d rows, want none", got)
	}
	if l := checkLedger(t, d.ob); l.Inserted != 40 || l.Verified != 40 {
		t.Errorf("ledger %+v, want 40 inserted and verified", l)
	}
}

// TestPrune_SparesWhatIsOpen: rows of chunks that are not proven stay. Those of verified
// chunks behind them go, chunk by chunk, and only when they are old enough.
func TestPrune_SparesWhatIsOpen(t *testing.T) {
	t.Parallel()
	later := tick0.Add(24 * time.Hour)
	for _, state := range []ChunkState{Sending, Accepted, Requeued} {
		d := newDelivery(t)
		d.deliverAll(d.all[:10]...)
		c := d.record(true, d.all[10:20]...)
		switch state {
		case Accepted:
			d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
		case Requeued:
			d.do(d.ob.Requeue(t.Context(), c, d.all[15:16])) // the others of it are proven
		}
		d.deliverAll(d.all[20:]...)
		d.prune(later, 1000, 10)
		if got := d.rows(); !slices.Equal(got, d.all[10:]) {
			t.Errorf("%s: rows %v, want %v", state, got, d.all[10:])
		}
		d.prune(tick0.Add(2*time.Second), 1000, 0)
		d.prune(later, 1000, 20)
		d.prune(later, 1000, 0)
		if got := d.rows(); !slices.Equal(got, d.all[10:20]) {
			t.Errorf("%s: rows %v, want those of the open chunk %v", state, got, d.all[10:20])
		}
		d.do(d.ob.MarkVerified(t.Context(), c))
		d.prune(later, 1000, 10)
	}
}

func TestUploadedByDevice(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	f := func(from, to time.Duration, want map[string]int64) {
		t.Helper()
		got, err := d.ob.UploadedByDevice(t.Context(), tick0.Add(from).UnixMilli(), tick0.Add(to).UnixMilli())
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("from %v to %v: %v, %v, want %v", from, to, got, err, want)
		}
	}
	f(0, time.Hour, nil)
	text := NewSeries("device", "text", Text)
	mustInsert(t, d.in, tick0, []Sample{{Series: text, Text: "x"}})
	d.do(d.ob.MarkUnsendable(t.Context(), KeySet{PackKey(tick0.UnixMilli(), text.id)}))
	d.deliverAll(d.all[5:25]...)
	f(0, 0, map[string]int64{"device": 5}) // the text is no sample of the server's
	f(0, time.Second, map[string]int64{"device": 15})
	f(time.Millisecond, 999*time.Millisecond, nil)
	f(time.Second, 2*time.Second, map[string]int64{"device": 15})
	f(-time.Hour, time.Hour, map[string]int64{"device": 20})
	f(time.Hour, 2*time.Hour, nil)

	// The device got another name.
	other := NewSeries("other", "metric", Number)
	mustInsert(t, d.in, tick0.Add(2*time.Second), []Sample{{Series: other, Value: 1}})
	f(time.Second, 2*time.Second, map[string]int64{"device": 15})
	d.deliverAll(PackKey(tick0.Add(2*time.Second).UnixMilli(), other.id))
	f(time.Second, 2*time.Second, map[string]int64{"device": 15, "other": 1})

	for from, want := range map[time.Duration]int{0: 21, time.Second: 16, time.Second + 1e6: 6, time.Hour: 0} {
		keys, err := d.ob.UploadedKeys(t.Context(), tick0.Add(from).UnixMilli(), tick0.Add(time.Hour).UnixMilli())
		if err != nil || len(keys) != want || !slices.IsSorted(keys) {
			t.Errorf("uploaded keys from %v: %d, %v, want %d", from, len(keys), err, want)
		}
	}
}

// TestLastKey is about rows that come in any order.
func TestLastKey(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(3)
	f := func(want Key) {
		t.Helper()
		if got, err := ob.LastKey(t.Context()); err != nil || got != want {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
	f(0)
	mustInsert(t, in, tick0, samples(series, 1))
	f(PackKey(tick0.UnixMilli(), 3))
	mustInsert(t, in, tick0.Add(-time.Second), samples(series, 1))
	f(PackKey(tick0.UnixMilli(), 3))
}

// TestPruned: what lies between the rows that were pruned in order and those that were pruned by
// chunk can be counted.
func TestPruned(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	f := func(what string, pruned ...bool) { // by tick, of which each has ten rows
		t.Helper()
		for i, want := range pruned {
			got, err := d.ob.Pruned(t.Context(), KeyRange{d.all[10*i], d.all[10*i+1]})
			if err != nil || got != want {
				t.Errorf("%s: tick %d pruned %v, %v, want %v", what, i, got, err, want)
			}
		}
	}
	prune := func() {
		t.Helper()
		if _, err := d.ob.FreeProven(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	f("at first", false, false, false, false)
	d.deliverAll(d.all[0:10]...)
	prune()
	f("in order", true, false, false, false)
	d.deliverAll(d.all[30:32]...)
	prune()
	f("by chunk", true, false, false, true)
	d.deliverAll(d.all[10:20]...)
	prune()
	f("in order again", true, true, false, true)
	mustExec(t, d.ob.db, "DELETE FROM ledger WHERE account IN ('pruned_below', 'pruned_from')")
	f("by an older version", true, true, true, true)
}
