package store

import (
	"database/sql"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

// delivery is a file with 40 pending rows of 4 ticks, and a shipper's view of it.
type delivery struct {
	t    *testing.T
	in   *Inserter
	ob   *Outbox
	db   *sql.DB
	all  KeySet
	wall time.Time // of the outbox
}

func newDelivery(t *testing.T) *delivery {
	t.Helper()
	path := newPath(t)
	d := &delivery{t: t, wall: tick0.Add(time.Hour).UTC()}
	d.in = openInserter(t, options(path), time.Hour)
	o := options(path)
	o.Now = func() time.Time { return d.wall }
	d.ob = openOutbox(t, o)
	d.db = rawDB(t, path)
	series := numberSeries(10)
	for tick := range 4 {
		mustInsert(t, d.in, tick0.Add(time.Duration(tick)*time.Second), samples(series, 10*float64(tick)))
	}
	d.all = pendingKeys(t, d.ob, 1000, nil)
	d.do(d.ob.MarkUnsendable(t.Context(), nil)) // the mark goes to the first row
	return d
}

// record records one chunk of the given rows.
func (d *delivery) record(contiguous bool, keys ...Key) *Chunk {
	d.t.Helper()
	c := newChunk(slices.Clone(KeySet(keys)), contiguous)
	if err := d.ob.RecordSending(d.t.Context(), c); err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (d *delivery) do(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// check wants exactly these rows pending, the file consistent, and the chunk in
// memory equal to the one in the file.
func (d *delivery) check(pending KeySet, chunks ...*Chunk) {
	d.t.Helper()
	checkConsistent(d.t, d.db)
	checkLedger(d.t, d.ob)
	if got := pendingKeys(d.t, d.ob, 1000, nil); !slices.Equal(got, pending) {
		d.t.Errorf("pending rows:\ngot  %v\nwant %v", []Key(got), []Key(pending))
	}
	// Nothing is pending below the mark, and it is as high as it can be.
	want := d.all[len(d.all)-1] + 1
	if len(pending) > 0 {
		want = pending[0]
	}
	if got := Key(queryInt(d.t, d.db, "SELECT low_water FROM outbox")); got != want {
		d.t.Errorf("low_water is %d, want %d", got, want)
	}
	for _, c := range chunks {
		found, err := all(d.t.Context(), d.db, scanChunk, "SELECT "+chunkColumns+" FROM upload_checkpoints WHERE id = ?", c.ID)
		if err != nil || len(found) != 1 {
			d.t.Fatal(found, err)
		}
		stored := found[0]
		memory := *c
		memory.Contiguous = false // not stored
		if stored.Keys = slices.Clip(stored.Keys); len(memory.Keys)+len(stored.Keys) == 0 {
			memory.Keys, stored.Keys = nil, nil
		}
		if !reflect.DeepEqual(*stored, memory) {
			d.t.Errorf("chunk %d:\nin the file %+v\nin memory   %+v", c.ID, *stored, memory)
		}
	}
}

// settledMS is the column that only people read.
func (d *delivery) settledMS(c *Chunk) any {
	d.t.Helper()
	var ms sql.NullInt64
	d.do(d.db.QueryRow("SELECT settled_ms FROM upload_checkpoints WHERE id = ?", c.ID).Scan(&ms))
	if !ms.Valid {
		return nil
	}
	return ms.Int64
}

func (d *delivery) letters() []string {
	d.t.Helper()
	return queryLines(d.t, d.db, "SELECT timestamp_ms, name, tags, value, reason, detail, created_ms FROM dead_letters ORDER BY id")
}

// letter is how a dead letter of row i of the file must look.
func (d *delivery) letter(i int, reason, detail string) string {
	s := numberSeries(10)[i%10]
	return line(d.all[i].TimestampMS(), s.Name, s.Tags, float64(10*(i/10)+i%10), reason, detail, d.wall.UnixMilli())
}

func TestRecordSending(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	a, b := newChunk(d.all[:15], true), newChunk(d.all[15:30], true)
	b.BatchID, b.Index = a.BatchID, 1
	d.do(d.ob.RecordSending(t.Context(), a, b))
	if a.ID == 0 || b.ID == 0 || a.ID == b.ID || a.State != Sending || b.State != Sending {
		t.Errorf("got %+v and %+v", a, b)
	}
	d.check(d.all, a, b)
	if d.settledMS(a) != nil {
		t.Error("a chunk that is under way is settled")
	}
	d.do(d.ob.RecordSending(t.Context())) // none
	d.check(d.all, a, b)
}

func TestOpenChunks(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	ctx := t.Context()
	sending := d.record(true, d.all[30:35]...)
	accepted := d.record(true, d.all[20:30]...)
	accepted.Attempts, accepted.Attempted, accepted.HTTPStatus, accepted.Accepted = 2, d.wall, 204, d.wall
	d.do(d.ob.MarkUploaded(ctx, accepted, nil, nil))
	requeued := d.record(true, d.all[10:20]...)
	requeued.Attempts, requeued.Resends, requeued.Error = 3, 1, "reset by peer"
	d.do(d.ob.Requeue(ctx, requeued, d.all[15:20]))
	verified := d.record(true, d.all[:5]...)
	d.do(d.ob.MarkVerified(ctx, verified))
	rejected := d.record(true, d.all[5])
	d.do(d.ob.MarkUploaded(ctx, rejected, []Rejection{{Key: d.all[5], Reason: "r"}}, nil))

	// A new run finds them, oldest rows first, and knows nothing of gaps.
	other := openOutbox(t, options(d.ob.o.Path))
	got, err := other.OpenChunks(ctx)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d chunks, %v, want 3", len(got), err)
	}
	for i, want := range []*Chunk{requeued, accepted, sending} {
		got[i].Keys = slices.Clip(got[i].Keys)
		w := *want
		w.Contiguous = false
		if !slices.Equal(got[i].Keys, w.Keys) {
			t.Errorf("chunk %d has %v, want %v", i, got[i].Keys, w.Keys)
		}
		got[i].Keys, w.Keys = nil, nil
		if !reflect.DeepEqual(*got[i], w) {
			t.Errorf("chunk %d:\ngot  %+v\nwant %+v", i, *got[i], w)
		}
	}
	d.check(slices.Concat(d.all[6:10], d.all[15:20], d.all[30:]))
}

func TestRequeue(t *testing.T) {
	t.Parallel()
	f := func(name string, accepted bool, missing ...int) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDelivery(t)
			before := d.record(true, d.all[:10]...)
			d.do(d.ob.MarkUploaded(t.Context(), before, nil, nil))
			c := d.record(true, d.all[10:30]...)
			if accepted {
				c.HTTPStatus, c.Accepted = 204, d.wall
				d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
			}
			var keys KeySet
			for _, i := range missing {
				keys = append(keys, d.all[10+i])
			}
			c.Resends++
			d.wall = d.wall.Add(time.Minute)
			d.do(d.ob.Requeue(t.Context(), c, keys))
			if c.State != Requeued || !slices.Equal(c.Keys, keys) || c.Contiguous || d.settledMS(c) != d.wall.UnixMilli() {
				t.Errorf("got %+v, want rows %v", c, keys)
			}
			d.check(slices.Concat(keys, d.all[30:]), before, c)

			// It goes out once more, in another body, and arrives.
			c.Bytes, c.Created = 77, d.wall
			d.do(d.ob.RecordSending(t.Context(), c))
			if c.State != Sending || d.settledMS(c) != nil {
				t.Errorf("got %+v, settled %v", c, d.settledMS(c))
			}
			d.check(slices.Concat(keys, d.all[30:]), c)
			d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
			d.do(d.ob.MarkVerified(t.Context(), c))
			d.check(d.all[30:], before, c)
		})
	}
	everything := make([]int, 20)
	for i := range everything {
		everything[i] = i
	}
	f("sending, some missing", false, 3, 7, 19)
	f("sending, all missing", false, everything...)
	f("accepted, one missing", true, 0)
	f("accepted, some missing", true, 3, 7, 19)
	f("accepted, all missing", true, everything...)
}

func TestRequeue_NothingMissing(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	c := d.record(true, d.all[:10]...)
	d.do(d.ob.Requeue(t.Context(), c, nil))
	if c.State != Verified || len(c.Keys) != 10 {
		t.Errorf("got %+v, want a verified chunk", c)
	}
	d.check(d.all[10:], c)
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	c, other := d.record(true, d.all[:10]...), d.record(true, d.all[10:20]...)
	id := c.ID
	d.do(d.ob.Withdraw(t.Context(), c))
	d.check(d.all, other)
	if got := queryInt(t, d.db, "SELECT count(*) FROM upload_checkpoints WHERE id = ?", id); got != 0 || c.ID != 0 {
		t.Errorf("the chunk is still recorded, id %d", c.ID)
	}
	// It can be recorded anew.
	d.do(d.ob.RecordSending(t.Context(), c))
	d.check(d.all, c, other)

	// Of one whose rows were thought delivered.
	d.do(d.ob.MarkUploaded(t.Context(), c, nil, nil))
	d.check(d.all[10:])
	d.do(d.ob.Withdraw(t.Context(), c))
	d.check(d.all)
}

func TestBury(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.do(d.ob.MoveToDeadLetters(t.Context(), nil))
	d.check(d.all)
	d.do(d.ob.MoveToDeadLetters(t.Context(), []Rejection{
		{d.all[0], "too_large", "one sample of 300 KiB"},
		{d.all[20], "no_value", ""},
	}))
	// A row that was listed and cannot be found would be listed for ever.
	err := d.ob.MoveToDeadLetters(t.Context(), []Rejection{{d.all[3], "no_value", ""}, {PackKey(1, 1), "no_value", ""}})
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	d.check(slices.Concat(d.all[1:20], d.all[21:]))
	if got, want := d.letters(), []string{d.letter(0, "too_large", "one sample of 300 KiB"), d.letter(20, "no_value", "")}; !slices.Equal(got, want) {
		t.Errorf("dead letters:\ngot  %q\nwant %q", got, want)
	}
}

func TestMarkUnsendable(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	text := NewSeries("device", "system.kernel_release", Text)
	mustInsert(t, d.in, tick0.Add(time.Millisecond), []Sample{{Series: text, Text: "6.1.0"}})
	key := PackKey(tick0.UnixMilli()+1, text.id)
	d.check(append(slices.Clone(d.all), key).Sorted())
	d.do(d.ob.MarkUnsendable(t.Context(), KeySet{key}))
	d.check(d.all)
	d.do(d.ob.MarkUnsendable(t.Context(), nil))
	d.check(d.all)
	if got := queryLines(t, d.db, "SELECT value_text, uploaded FROM metric_rows WHERE value_type = 1"); !slices.Equal(got, []string{line("6.1.0", int64(1))}) {
		t.Errorf("got %q", got)
	}
	// A text that is rejected is still readable afterwards.
	mustInsert(t, d.in, tick0.Add(2*time.Millisecond), []Sample{{Series: text, Text: "6.2.0"}})
	d.do(d.ob.MoveToDeadLetters(t.Context(), []Rejection{{Key: PackKey(tick0.UnixMilli()+2, text.id), Reason: "r"}}))
	if got := queryLines(t, d.db, "SELECT value, value_text, value_type FROM dead_letters"); !slices.Equal(got, []string{line(nil, "6.2.0", int64(1))}) {
		t.Errorf("got %q", got)
	}
}
