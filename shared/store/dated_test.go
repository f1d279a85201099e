package store

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"belabox-metrics/shared/clock"
)

// datedRig is a file into which ticks are recorded.
type datedRig struct {
	*testing.T
	in  *Inserter
	ob  *Outbox
	now time.Time // of the last tick
}

func newDatedRig(t *testing.T) *datedRig {
	path := newPath(t)
	r := &datedRig{T: t, in: openInserter(t, options(path), time.Hour), ob: openOutbox(t, options(path)), now: tick0}
	for range 10 {
		r.tick(10 * time.Second)
	}
	return r
}

// moment is one of a machine that has been up for as long as the wall clock counts.
func moment(at time.Time, boot string) clock.Moment {
	return clock.Moment{Wall: at, Boot: time.Duration(at.UnixMilli()) * time.Millisecond, BootID: boot, Sync: clock.Yes}
}

func (r *datedRig) tick(after time.Duration) {
	r.Helper()
	r.now = r.now.Add(after)
	if _, err := r.in.Record(r.Context(), moment(r.now, "b"), r.now, samples(numberSeries(2), 1)); err != nil {
		r.Fatal(err)
	}
}

func dated(ms ...int64) (all []*Dated) {
	for i, ms := range ms {
		all = append(all, &Dated{Sample: Sample{Series: NewSeries("device", "dated", Number), Value: float64(i)}, MS: ms})
	}
	return all
}

func (r *datedRig) insert(keep time.Duration, all []*Dated, inserted int, fates ...DatedFate) {
	r.Helper()
	n, err := r.in.InsertDated(r.Context(), moment(r.now, "b"), keep, all)
	if err != nil || n != inserted {
		r.Errorf("inserted %d, %v, want %d", n, err, inserted)
	}
	for i, want := range fates {
		if all[i].Fate != want {
			r.Errorf("sample %d at %d: fate %d, want %d", i, all[i].MS, all[i].Fate, want)
		}
	}
	checkLedger(r, r.ob)
	checkConsistent(r, r.in.db)
}

func TestInsertDated(t *testing.T) {
	t.Parallel()
	r := newDatedRig(t)
	now := r.now.UnixMilli()
	all := dated(now-50_003, now, now+5, now-3_600_000, now-200_000, now-7)
	all[5].Value = math.NaN()
	// Before the file began they may have been in another one.
	r.insert(time.Hour, all, 2, DatedStored, DatedStored, DatedWaiting, DatedTooOld, DatedTooOld, DatedUnstored)
	r.insert(0, all, 0, DatedStored, DatedStored, DatedWaiting)
	// The next ticks go on as if nothing had been.
	epochs := queryInt(t, r.in.db, "SELECT count(*) FROM epochs")
	r.tick(10 * time.Second)
	r.insert(0, all, 1, DatedStored, DatedStored, DatedStored)
	if n := queryInt(t, r.in.db, "SELECT count(*) FROM epochs"); n != epochs {
		t.Errorf("%d epochs, want %d", n, epochs)
	}
	got := queryLines(t, r.in.db, "SELECT timestamp_ms, value FROM metric_rows WHERE name = 'dated' ORDER BY 1")
	want := []string{line(now-50_003, 0.0), line(now, 1.0), line(now+5, 2.0)}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// Another run finds them.
	again := openInserter(t, options(r.in.o.Path), time.Hour)
	r.in = again
	r.insert(0, dated(now-50_003, now, now+5), 0, DatedStored, DatedStored, DatedStored)
}

// TestInsertDated_Delivered: rows come between those that are delivered, in flight or pruned.
func TestInsertDated_Delivered(t *testing.T) {
	t.Parallel()
	r := newDatedRig(t)
	ctx := t.Context()
	deliver := func(verified bool) *Chunk {
		keys := pendingKeys(t, r.ob, 1000, nil)
		c := newChunk(keys, true)
		noError(t, r.ob.RecordSending(ctx, c))
		if verified {
			noError(t, r.ob.MarkUploaded(ctx, c, nil, nil))
			noError(t, r.ob.MarkVerified(ctx, c))
		}
		return c
	}
	deliver(true)
	now := r.now.UnixMilli()
	r.insert(0, dated(now-50_003, now-20_001), 2, DatedStored, DatedStored)
	r.tick(10 * time.Second)
	c := deliver(false) // spans the delivered ones
	// Into the span of a chunk in flight, and of one that is contiguous no more.
	r.insert(0, dated(now-30_000), 1, DatedStored)
	noError(t, r.ob.MarkUploaded(ctx, c, nil, nil))
	if got := pendingKeys(t, r.ob, 1000, nil); len(got) != 1 || got[0].TimestampMS() != now-30_000 {
		t.Errorf("pending %v, want the row that came meanwhile", got)
	}
	noError(t, r.ob.MarkVerified(ctx, c))
	// A pending row keeps those behind it from being pruned by age.
	if _, err := r.ob.Prune(ctx, r.now.Add(time.Hour), 1000); err != nil {
		t.Fatal(err)
	}
	checkConsistent(t, r.in.db)
	r.insert(0, dated(now-30_000), 0, DatedStored)
	deliver(true)
	for {
		n, err := r.ob.Prune(ctx, r.now.Add(-25*time.Second), 1000)
		noError(t, err)
		if n == 0 {
			break
		}
	}
	// What was pruned is at the server: it is not inserted again.
	r.insert(0, dated(now-50_003, now-30_000, now-1), 1, DatedTooOld, DatedTooOld, DatedStored)
}

// TestInsertDated_Failure: failed and nothing stored, failed although it was stored.
func TestInsertDated_Failure(t *testing.T) {
	t.Parallel()
	r := newDatedRig(t)
	now := r.now.UnixMilli()
	all := dated(now-5, now-6)
	mustExec(t, r.ob.pool, "CREATE TRIGGER fault BEFORE INSERT ON metrics BEGIN SELECT raise(ABORT, 'fault'); END")
	if _, err := r.in.InsertDated(t.Context(), moment(r.now, "b"), 0, all); err == nil || all[0].Fate != DatedWaiting {
		t.Errorf("fate %d, %v", all[0].Fate, err)
	}
	mustExec(t, r.ob.pool, "DROP TRIGGER fault")
	r.insert(0, all, 2, DatedStored, DatedStored)
	all[0].Fate, all[1].Fate = DatedWaiting, DatedWaiting // nobody was told
	r.insert(0, all, 0, DatedStored, DatedStored)
}

// TestInsertDated_Corrected: what was stored while the true time was not known is not stored again
// under the true time, and times of which no key is left are refused.
func TestInsertDated_Corrected(t *testing.T) {
	t.Parallel()
	r := newDatedRig(t)
	begin := r.now
	wall := begin.Add(-time.Hour) // the next boot's clock is an hour behind
	record := func() {
		m := moment(wall, "c")
		m.Sync = clock.No
		if _, err := r.in.Record(t.Context(), m, wall, samples(numberSeries(2), 1)); err != nil {
			t.Fatal(err)
		}
	}
	record()
	wall = wall.Add(10 * time.Second)
	record()
	m := moment(wall, "c")
	insert := func(want DatedFate, inserted int, ms int64) {
		t.Helper()
		all := dated(ms)
		if n, err := r.in.InsertDated(t.Context(), m, 0, all); err != nil || n != inserted || all[0].Fate != want {
			t.Errorf("at %d: %d inserted, %v, fate %d, want %d, %d", ms, n, err, all[0].Fate, inserted, want)
		}
	}
	at := wall.UnixMilli() - 3
	insert(DatedStored, 1, at)
	timeline, err := r.ob.Timeline(t.Context())
	noError(t, err)
	last := timeline[len(timeline)-1]
	last.TrueOffset, last.How = last.WallOffset+2*3_600_000, HowServer // it was an hour after the first boot
	noError(t, r.ob.Correct(t.Context(), last))
	insert(DatedStored, 0, at)                                     // the same sample
	insert(DatedStored, 1, wall.UnixMilli()+2*3_600_000-7)         // by the true time
	insert(DatedNowhere, 0, begin.Add(30*time.Minute).UnixMilli()) // while the device was off
	checkConsistent(t, r.in.db)
}

// BenchmarkRecordSeries is a tick of so many series, and with it 100 samples with timestamps of
// which one is new.
func BenchmarkRecordSeries(b *testing.B) {
	for _, n := range []int{300, 1300, 5300} {
		for _, withDated := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d-dated-%v", n, withDated), func(b *testing.B) {
				in := openInserter(b, options(newPath(b)), time.Hour)
				all, now := samples(numberSeries(n), 1), tick0
				if _, err := in.Record(b.Context(), moment(now, "b"), now, all); err != nil {
					b.Fatal(err)
				}
				series := NewSeries("device", "dated", Number)
				b.ReportAllocs()
				for b.Loop() {
					now = now.Add(10 * time.Second)
					if _, err := in.Record(b.Context(), moment(now, "b"), now, all); err != nil {
						b.Fatal(err)
					}
					if !withDated {
						continue
					}
					var dated []*Dated
					for i := range 100 {
						dated = append(dated, &Dated{Sample: Sample{Series: series}, MS: now.UnixMilli() - int64(i)*10_000})
					}
					if _, err := in.InsertDated(b.Context(), moment(now, "b"), 0, dated); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestInsertDated_Full: the file reaches its bound at a row that is booked by itself. Nothing of
// the call is stored, not even the row behind it for which there would be room.
func TestInsertDated_Full(t *testing.T) {
	t.Parallel()
	r := newDatedRig(t)
	r.in.w.lastSync = time.Time{} // a synced tick books
	r.tick(10 * time.Second)
	now := r.now.UnixMilli()
	r.tick(10 * time.Second)
	all := dated(now + 5000)
	for i := range int64(1000) {
		all = append(all, &Dated{Sample: Sample{Series: NewSeries("device", "text", Text), Text: "some text"}, MS: now - 90_000 + 1 + 30*i})
	}
	before := dump(t, r.in.pool)
	limit := func(pages int64) {
		t.Helper()
		if _, err := r.in.w.conn.ExecContext(t.Context(), fmt.Sprint("PRAGMA max_page_count = ", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(queryInt(t, r.in.pool, "PRAGMA page_count") + 1)
	if _, err := r.in.InsertDated(t.Context(), moment(r.now, "b"), 0, all); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if after := dump(t, r.in.pool); after != before {
		t.Errorf("the file changed:\n%s", diff(after, before))
	}
	limit(1 << 20)
	r.insert(0, all, len(all), DatedStored)
}
