package store

import (
	"slices"
	"testing"
	"time"
)

func TestMarkUploaded(t *testing.T) {
	t.Parallel()
	for _, contiguous := range []bool{true, false} {
		d := newDelivery(t)
		c := d.record(contiguous, d.all[:25]...)
		c.Attempts, c.Attempted, c.HTTPStatus, c.Accepted = 1, d.wall, 204, d.wall
		d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
		if c.State != Accepted || len(c.Keys) != 25 || d.settledMS(c) != nil {
			t.Errorf("contiguous %v: %+v", contiguous, c)
		}
		d.check(d.all[25:], c)

		// Proven half a minute later.
		d.wall = d.wall.Add(30 * time.Second)
		d.do(d.ob.MarkVerified(t.Context(), c))
		if c.State != Verified || d.settledMS(c) != d.wall.UnixMilli() {
			t.Errorf("contiguous %v: %+v settled %v", contiguous, c, d.settledMS(c))
		}
		d.check(d.all[25:], c)
	}
}

func TestMarkUploaded_InTheMiddle(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	c := d.record(true, d.all[10:20]...)
	d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
	d.check(slices.Concat(d.all[:10], d.all[20:]), c)
	// With the rows before it gone, the mark passes it too.
	first := d.record(true, d.all[:10]...)
	d.do(d.ob.MarkUploaded(t.Context(), first, nil, nil))
	d.check(d.all[20:], c, first)
}

func TestMarkUploaded_Part(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	c := d.record(true, d.all[:10]...)
	d.do(d.ob.MarkUploaded(t.Context(), c,
		[]Rejection{{d.all[7], "rejected", "bad label"}, {d.all[2], "rejected", "worse"}}, KeySet{d.all[3], d.all[9]}))
	want := KeySet{d.all[0], d.all[1], d.all[4], d.all[5], d.all[6], d.all[8]}
	if c.State != Accepted || !slices.Equal(c.Keys, want) || c.Contiguous {
		t.Errorf("got %+v, want rows %v", c, want)
	}
	d.check(slices.Concat(KeySet{d.all[3], d.all[9]}, d.all[10:]), c)
	if got, want := d.letters(), []string{d.letter(7, "rejected", "bad label"), d.letter(2, "rejected", "worse")}; !slices.Equal(got, want) {
		t.Errorf("dead letters:\ngot  %q\nwant %q", got, want)
	}
	// The rows that stay are anybody's again.
	other := d.record(false, d.all[3], d.all[9])
	d.do(d.ob.MarkUploaded(t.Context(), other, nil, nil))
	d.check(d.all[10:], c, other)
}

func TestMarkUploaded_Nothing(t *testing.T) {
	t.Parallel()
	f := func(name string, rejected, again int, pendingFrom int) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDelivery(t)
			c := d.record(true, d.all[:rejected+again]...)
			var refused []Rejection
			for _, k := range d.all[:rejected] {
				refused = append(refused, Rejection{Key: k, Reason: "rejected"})
			}
			d.do(d.ob.MarkUploaded(t.Context(), c, refused, slices.Clone(d.all[rejected:rejected+again])))
			if c.State != Rejected || len(c.Keys) != 0 || d.settledMS(c) != d.wall.UnixMilli() {
				t.Errorf("got %+v", c)
			}
			d.check(d.all[pendingFrom:], c)
			if got := len(d.letters()); got != rejected {
				t.Errorf("%d dead letters, want %d", got, rejected)
			}
			if open, err := d.ob.OpenChunks(t.Context()); err != nil || len(open) != 0 {
				t.Errorf("%d open chunks, %v, want none", len(open), err)
			}
		})
	}
	f("all rejected", 3, 0, 3)
	f("all again", 0, 3, 0)
	f("half and half", 3, 4, 3)
}

// TestMarkUploaded_LateRow: a row with a time of its own came into the range of
// a chunk that was all there was. It must not count as sent.
func TestMarkUploaded_LateRow(t *testing.T) {
	t.Parallel()
	for _, mark := range []string{"MarkUploaded", "MarkVerified"} {
		d := newDelivery(t)
		c := d.record(true, d.all...)
		late := NewSeries("device", "late", Number)
		mustInsert(t, d.in, tick0.Add(1500*time.Millisecond), []Sample{{Series: late, Value: 1}})
		if mark == "MarkUploaded" {
			d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
		} else {
			d.do(d.ob.MarkVerified(t.Context(), c))
		}
		d.check(KeySet{PackKey(tick0.UnixMilli()+1500, late.id)}, c)
	}
}

// TestMarkUploaded_RowsAreGone: the size budget took rows of a chunk away.
func TestMarkUploaded_RowsAreGone(t *testing.T) {
	t.Parallel()
	for _, contiguous := range []bool{true, false} {
		d := newDelivery(t)
		c := d.record(contiguous, d.all[:20]...)
		mustExec(t, d.db, "DELETE FROM metrics WHERE dedup_key <= ?", int64(d.all[4]))
		d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
		if got := pendingKeys(t, d.ob, 1000, nil); !slices.Equal(got, d.all[20:]) {
			t.Errorf("contiguous %v: pending %v, want %v", contiguous, got, d.all[20:])
		}
	}
}

func TestMarkVerified_ReplyWasLost(t *testing.T) {
	t.Parallel()
	for _, contiguous := range []bool{true, false} {
		d := newDelivery(t)
		c := d.record(contiguous, d.all[5:25]...)
		d.do(d.ob.MarkVerified(t.Context(), c))
		if c.State != Verified || d.settledMS(c) != d.wall.UnixMilli() {
			t.Errorf("got %+v", c)
		}
		d.check(slices.Concat(d.all[:5], d.all[25:]), c)
	}
}

// TestLastDelivery: the newest time of any chunk, whatever became of it since.
func TestLastDelivery(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	f := func(what string, want time.Time, wantVerified bool) {
		t.Helper()
		if got, verified, err := ob.LastDelivery(t.Context()); err != nil || !got.Equal(want) || verified.IsZero() == wantVerified {
			t.Errorf("%s: got %v, %v, %v, want %v", what, got, verified, err, want)
		}
	}
	f("nothing sent", time.Time{}, false)
	mustInsert(t, in, tick0, samples(numberSeries(4), 1))
	first := recordPending(t, ob, 2)
	f("on its way", time.Time{}, false)
	first.Accepted = tick0.Add(5 * time.Second)
	if err := ob.MarkUploaded(t.Context(), first, nil, nil); err != nil {
		t.Fatal(err)
	}
	second := recordPending(t, ob, 2)
	second.Accepted = tick0.Add(3 * time.Second)
	if err := ob.MarkUploaded(t.Context(), second, nil, nil); err != nil {
		t.Fatal(err)
	}
	f("two", tick0.Add(5*time.Second), false)
	if err := ob.MarkVerified(t.Context(), first, second); err != nil {
		t.Fatal(err)
	}
	f("verified", tick0.Add(5*time.Second), true)
}

// TestAcceptedBefore: the last accepted chunk up to a time, also after it was read back.
func TestAcceptedBefore(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	f := func(at time.Time, want *Chunk) {
		t.Helper()
		got, err := d.ob.AcceptedBefore(t.Context(), at)
		if err != nil || (got == nil) != (want == nil) || got != nil && got.ID != want.ID {
			t.Errorf("%s: got %+v, %v, want %+v", at, got, err, want)
		}
	}
	first, second, open := d.record(true, d.all[:5]...), d.record(true, d.all[5:10]...), d.record(true, d.all[10:15]...)
	f(d.wall, nil)
	first.Accepted, second.Accepted = d.wall.Add(-time.Minute), d.wall
	d.do(d.ob.MarkUploaded(t.Context(), first, nil, nil))
	d.do(d.ob.MarkUploaded(t.Context(), second, nil, nil))
	check := func() {
		t.Helper()
		f(d.wall.Add(-2*time.Minute), nil)
		f(d.wall.Add(-time.Second), first)
		f(d.wall, second)
	}
	check()
	d.do(d.ob.MarkVerified(t.Context(), first, second))
	check()
	d.check(d.all[10:], first, second, open)
}
