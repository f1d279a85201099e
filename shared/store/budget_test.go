package store

import (
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
	d.do(d.ob.Bury(t.Context(), []Rejection{{Key: d.all[39], Reason: "r"}}))
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
	d.enforce(0, Freed{}) // accepted is not proven
	d.do(d.ob.MarkVerified(t.Context(), open))
	d.enforce(0, Freed{Verified: 5})
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
