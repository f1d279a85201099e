package store

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// enforce wants the data within maxBytes and this freed.
func (d *delivery) enforce(maxBytes int64, want Freed) {
	d.t.Helper()
	got, err := d.ob.EnforceBudget(d.t.Context(), maxBytes)
	if err != nil || got != want {
		d.t.Errorf("budget %d: %+v, %v, want %+v", maxBytes, got, err, want)
	}
	checkConsistent(d.t, d.db)
	checkLedger(d.t, d.ob)
}

func TestEnforceBudget_Room(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	size, err := d.ob.DataSize(t.Context())
	if err != nil || size <= 0 || size%1024 != 0 {
		t.Fatalf("the data takes %d bytes, %v", size, err)
	}
	before := dump(t, d.db)
	d.enforce(size, Freed{})
	d.enforce(1<<40, Freed{})
	if after := dump(t, d.db); after != before {
		t.Errorf("the file changed:\n%s", diff(after, before))
	}
}

// TestEnforceBudget_Order: proven rows go first, then pending ones, then dead
// letters. What is under way stays whatever the budget says.
func TestEnforceBudget_Order(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.deliverAll(d.all[:10]...)
	d.do(d.ob.MoveToDeadLetters(t.Context(), []Rejection{{Key: d.all[39], Reason: "r"}}))
	open := d.record(true, d.all[15:20]...)
	text := NewSeries("device", "text", Text)
	mustInsert(t, d.in, tick0.Add(time.Minute), []Sample{{Series: text, Text: "x"}})
	d.enforce(0, Freed{Verified: 10, Pending: 5 + 19 + 1, DeadLetters: 1})
	if got := d.rows(); !slices.Equal(got, d.all[15:20]) {
		t.Errorf("rows %v, want those of the open chunk %v", got, d.all[15:20])
	}
	l := checkLedger(t, d.ob)
	if l.Inserted != 41 || l.Verified != 10 || l.Dropped["size"] != 24 || l.Rejected != 1 || l.Unsendable != 1 || l.Pending != 5 {
		t.Errorf("ledger %+v", l)
	}
	d.do(d.ob.MarkUploaded(t.Context(), open, nil, nil))
	d.enforce(0, Freed{Unproven: 5}) // before anything that was never sent
	if l := checkLedger(t, d.ob); l.Dropped["unproven"] != 5 || l.Dropped["size"] != 24 || l.Accepted != 0 {
		t.Errorf("ledger %+v", l)
	}
}

// TestEnforceBudget_Enough deletes no more than it takes, in steps.
func TestEnforceBudget_Enough(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(1000)
	for tick := range 20 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(series, 1))
	}
	size, err := ob.DataSize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	freed, err := ob.EnforceBudget(t.Context(), size-1)
	if want := (Freed{Pending: budgetRows}); err != nil || freed != want {
		t.Errorf("got %+v, %v, want %+v", freed, err, want)
	}
	after, err := ob.DataSize(t.Context())
	if err != nil || after >= size {
		t.Errorf("the data takes %d bytes, %v, before it were %d", after, err, size)
	}
	keys := pendingKeys(t, ob, 100_000, nil)
	if len(keys) != 15_000 || keys[0].TimestampMS() != tick0.Add(5*time.Second).UnixMilli() {
		t.Errorf("%d rows are left from %d on", len(keys), keys[0].TimestampMS())
	}
	checkConsistent(t, ob.db)
	checkLedger(t, ob)
}

// TestEnforceBudget_Records: the records of chunks go with their rows. Kept, they
// would fill the budget by themselves, and pending rows would be dropped for them.
func TestEnforceBudget_Records(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(300)
	const budget = 400 << 10
	now := tick0
	for round := range 40 {
		for range 9 {
			mustInsert(t, in, now, samples(series, 1))
			now = now.Add(10 * time.Second)
		}
		rows, err := ob.Pending(t.Context(), 0, 10_000, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &Chunk{BatchID: "b", Index: round, Contiguous: true, Created: now}
		for _, r := range rows {
			c.Keys = append(c.Keys, r.Key)
		}
		err = errors.Join(ob.RecordSending(t.Context(), c), ob.MarkUploaded(t.Context(), c, nil, nil), ob.MarkVerified(t.Context(), c))
		if err != nil {
			t.Fatal(err)
		}
		if freed, err := ob.EnforceBudget(t.Context(), budget); err != nil || freed.Pending > 0 {
			t.Fatalf("%+v, %v", freed, err)
		}
	}
	if n := queryInt(t, ob.db, "SELECT count(*) FROM upload_checkpoints"); n == 0 || n > 20 {
		t.Errorf("%d records are left, of %d rows", n, queryInt(t, ob.db, "SELECT count(*) FROM metrics"))
	}
	checkConsistent(t, ob.db)
	checkLedger(t, ob)
}

// TestEnforceBudget_OldOpenChunk: proven rows go before pending ones also where an
// older chunk is still open.
func TestEnforceBudget_OldOpenChunk(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.record(true, d.all[0:5]...)
	d.deliverAll(d.all[5:20]...)
	d.enforce(0, Freed{Verified: 15, Pending: len(d.all) - 20})
	if got := d.rows(); !slices.Equal(got, d.all[:5]) {
		t.Errorf("rows %v, want those of the open chunk %v", got, d.all[:5])
	}
	if l := checkLedger(t, d.ob); l.Verified != 15 {
		t.Errorf("ledger %+v", l)
	}
	for i, want := range map[int]bool{4: false, 5: true, 19: true, 20: false} {
		if pruned, err := d.ob.Pruned(t.Context(), KeyRange{d.all[i], d.all[i]}); err != nil || pruned != want {
			t.Errorf("row %d: pruned %v, %v, want %v", i, pruned, err, want)
		}
	}
}
