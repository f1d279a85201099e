package store

import (
	"slices"
	"testing"
	"time"
)

// TestMarkAll_ManyChunks takes chunks of two uploads, interleaved and not, to
// their end in one transaction each.
func TestMarkAll_ManyChunks(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	var even, odd KeySet
	for i, k := range d.all[:20] {
		if i%2 == 0 {
			even = append(even, k)
		} else {
			odd = append(odd, k)
		}
	}
	chunks := []*Chunk{newChunk(even, false), newChunk(odd, false), newChunk(slices.Clone(d.all[25:30]), true)}
	chunks[1].BatchID, chunks[1].Index = chunks[0].BatchID, 1
	d.do(d.ob.RecordSending(t.Context(), chunks...))
	lost := d.record(true, d.all[35:]...) // its reply never came

	d.do(d.ob.MarkAllUploaded(t.Context()))
	d.do(d.ob.MarkAllUploaded(t.Context(), chunks...))
	pending := slices.Concat(d.all[20:25], d.all[30:])
	d.check(pending, chunks...)
	if l := checkLedger(t, d.ob); l.Accepted != 25 {
		t.Errorf("%d accepted, want 25", l.Accepted)
	}
	d.do(d.ob.MarkVerified(t.Context()))
	d.do(d.ob.MarkVerified(t.Context(), append(chunks, lost)...))
	d.check(slices.Concat(d.all[20:25], d.all[30:35]))
	if l := checkLedger(t, d.ob); l.Accepted != 0 || l.Verified != 30 {
		t.Errorf("%d accepted, %d verified, want 0 and 30", l.Accepted, l.Verified)
	}
	for _, c := range append(chunks, lost) {
		if c.State != Verified {
			t.Errorf("chunk %d is %s, want verified", c.ID, c.State)
		}
	}
}

// TestMarkAll_RowsBetween: rows that came into the span of an upload since, as
// they have a time of their own, are not marked with it.
func TestMarkAll_RowsBetween(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	c := d.record(true, d.all[:40]...)
	late := tick0.Add(1500 * time.Millisecond)
	mustInsert(t, d.in, late, samples(numberSeries(2), 5))
	d.do(d.ob.MarkAllUploaded(t.Context(), c))
	d.check(KeySet{PackKey(late.UnixMilli(), 1), PackKey(late.UnixMilli(), 2)}, c)
}

// TestMarkAll_AllOrNothing: one chunk that is not in the file keeps the others
// as they were.
func TestMarkAll_AllOrNothing(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	c, foreign := d.record(true, d.all[:10]...), newChunk(slices.Clone(d.all[10:20]), true)
	foreign.ID = 999
	for _, mark := range []func() error{
		func() error { return d.ob.MarkAllUploaded(t.Context(), c, foreign) },
		func() error { return d.ob.MarkVerified(t.Context(), c, foreign) },
	} {
		if err := mark(); err == nil || c.State != Sending {
			t.Errorf("got %v, chunk %s; want an error and a chunk that is still sending", err, c.State)
		}
		d.check(d.all, c)
	}
}
