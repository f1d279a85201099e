package store

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"
)

// TestLedger_Inserted counts ticks of every kind: synced and not, forward and
// back, in one run and across runs that ended without a word.
func TestLedger_Inserted(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	ob := openOutbox(t, options(path))
	series := numberSeries(10)
	inserted := int64(0)
	for run := range 3 {
		in := openInserter(t, options(path), time.Hour)
		for i, tick := range []int{0, 1, 2, -5, 3, 3, -4, 10, 4, 11} {
			if i%3 == 2 {
				in.w.lastSync = time.Now().Add(-2 * time.Hour) // this one is synced
			}
			r, err := in.Insert(t.Context(), tick0.Add(time.Duration(100*run+tick)*time.Second), samples(series, 1))
			if err != nil {
				t.Fatal(err)
			}
			inserted += int64(r.Inserted)
			if l := checkLedger(t, ob); l.Inserted != inserted || l.Pending != inserted {
				t.Errorf("run %d, tick %d: %+v, want %d", run, tick, l, inserted)
			}
		}
		if run < 2 {
			_ = in.close()
		}
	}
	if inserted != 3*90 {
		t.Errorf("%d samples inserted, want 270", inserted)
	}
}

// TestLedger_UnsyncedTicksWriteNothing: a tick that is not synced writes no page of the
// ledger.
func TestLedger_UnsyncedTicksWriteNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	db := rawDB(t, path)
	mustInsert(t, in, tick0, samples(numberSeries(10), 1)) // the first one is synced
	before := queryLines(t, db, "SELECT * FROM ledger")
	for tick := 1; tick < 5; tick++ {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(10), 1))
	}
	if after := queryLines(t, db, "SELECT * FROM ledger"); !reflect.DeepEqual(after, before) {
		t.Errorf("the ledger went from %q to %q", before, after)
	}
}

func TestLedger_States(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	text := NewSeries("device", "text", Text)
	mustInsert(t, d.in, tick0, []Sample{{Series: text, Text: "x"}})
	d.do(d.ob.MarkUnsendable(t.Context(), KeySet{PackKey(tick0.UnixMilli(), text.id)}))
	d.deliverAll(d.all[:10]...)
	accepted := d.record(true, d.all[10:17]...)
	d.do(d.ob.MarkUploaded(t.Context(), accepted, []Rejection{{Key: d.all[10], Reason: "r"}}, nil))
	d.record(true, d.all[17:20]...)
	got := checkLedger(t, d.ob)
	want := Ledger{Inserted: 41, Pending: 23, Accepted: 6, Verified: 10, Rejected: 1, Unsendable: 1, Dropped: map[string]int64{}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLedger_Difference(t *testing.T) {
	t.Parallel()
	f := func(l Ledger, want int64) {
		t.Helper()
		if got := l.Difference(); got != want {
			t.Errorf("%+v: %d, want %d", l, got, want)
		}
	}
	f(Ledger{}, 0)
	f(Ledger{Inserted: 28, Pending: 1, Accepted: 2, Verified: 3, Rejected: 4, Unsendable: 5, Dropped: map[string]int64{"size": 6, "x": 7}}, 0)
	f(Ledger{Inserted: 3, Verified: 2}, -1)
	f(Ledger{Verified: 2}, 2)
}

// wrongAccount makes a file of which one account has the number that the expression gives it, and
// returns its path and the ledger before that.
func wrongAccount(t *testing.T, account, expression string) (path string, before Ledger) {
	t.Helper()
	path = newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	for tick := range 5 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(10), 1))
	}
	c := recordPending(t, ob, 20)
	noError(t, ob.MarkUploaded(t.Context(), c, []Rejection{{c.Keys[0], "rejected", ""}}, nil))
	before = checkLedger(t, ob)
	mustExec(t, ob.db, "INSERT OR IGNORE INTO ledger VALUES (?, 0)", account)
	mustExec(t, ob.db, "UPDATE ledger SET samples = "+expression+" WHERE account = ?", account)
	_ = in.close()
	abandon(ob)
	return path, before
}

// TestLedger_DamagedAccount: whichever account is wrong, the next start corrects what was inserted,
// and the ledger adds up.
func TestLedger_DamagedAccount(t *testing.T) {
	t.Parallel()
	for _, account := range []string{accountInserted, accountThrough, accountVerified, accountText, accountRejected, accountDropped + "size"} {
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			path, before := wrongAccount(t, account, "samples + 7000000000")
			if l := checkLedger(t, openOutbox(t, options(path))); l.Pending != before.Pending || l.Accepted != before.Accepted {
				t.Errorf("got %+v, want %+v but for account %s", l, before, account)
			}
		})
	}
}

// TestLedger_ImpossibleAccount: a number that no account can have, such as one by which a sum
// overflows, keeps nobody from opening the file.
func TestLedger_ImpossibleAccount(t *testing.T) {
	t.Parallel()
	for _, account := range []string{accountInserted, accountThrough, accountPruned, accountVerified, accountText, accountRejected, accountDropped + "size"} {
		for _, n := range []int64{math.MaxInt64, 1 << 62, -1, math.MinInt64} {
			t.Run(fmt.Sprint(account, n), func(t *testing.T) {
				t.Parallel()
				path, before := wrongAccount(t, account, fmt.Sprint(n))
				for range 2 {
					ob := openOutbox(t, options(path))
					if l := checkLedger(t, ob); l.Pending != before.Pending || l.Accepted != before.Accepted || l.Inserted > 1000 {
						t.Errorf("got %+v, want %+v but for account %s", l, before, account)
					}
					noError(t, ob.Close(t.Context()))
				}
			})
		}
	}
}
