package store

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDelivery_FailedTransaction lets each operation fail at its last statement
// and wants the file and the chunk as they were.
func TestDelivery_FailedTransaction(t *testing.T) {
	t.Parallel()
	f := func(name, trigger, prefix string, fail func(d *delivery, c *Chunk) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDelivery(t)
			mustInsert(t, d.in, tick0.Add(-time.Second), samples(numberSeries(1), 1)) // the mark is not where it will be
			c := d.record(true, d.all[:20]...)
			mustExec(t, d.db, "CREATE TRIGGER fault BEFORE "+trigger+" BEGIN SELECT RAISE(ABORT, 'boom'); END")
			before, chunk := dump(t, d.db), *c
			chunk.Keys = slices.Clone(c.Keys)
			err := fail(d, c)
			if err == nil || !strings.HasPrefix(err.Error(), prefix+": ") || !strings.Contains(err.Error(), "boom") {
				t.Errorf("got %v, want %s: ... boom", err, prefix)
			}
			if !reflect.DeepEqual(*c, chunk) {
				t.Errorf("the chunk changed:\ngot  %+v\nwant %+v", *c, chunk)
			}
			if after := dump(t, d.db); after != before {
				t.Errorf("the file changed:\n%s", diff(after, before))
			}
			mustExec(t, d.db, "DROP TRIGGER fault")
			if err := fail(d, c); err != nil {
				t.Errorf("without the fault: %v", err)
			}
			checkConsistent(t, d.db)
			checkLedger(t, d.ob)
		})
	}
	const lastOne = "UPDATE ON outbox"
	f("MarkUploaded", lastOne, "record chunk as accepted", func(d *delivery, c *Chunk) error {
		return d.ob.MarkUploaded(d.t.Context(), c, nil, nil)
	})
	f("MarkUploaded, in part", lastOne, "record chunk as accepted", func(d *delivery, c *Chunk) error {
		return d.ob.MarkUploaded(d.t.Context(), c, []Rejection{{Key: d.all[3], Reason: "r"}}, KeySet{d.all[4]})
	})
	f("MarkUploaded, nothing of it", lastOne, "record chunk as rejected", func(d *delivery, c *Chunk) error {
		return d.ob.MarkUploaded(d.t.Context(), c, nil, slices.Clone(d.all[:20]))
	})
	f("MarkVerified", lastOne, "record chunk as verified", func(d *delivery, c *Chunk) error {
		return d.ob.MarkVerified(d.t.Context(), c)
	})
	f("Requeue", lastOne, "record chunk as requeued", func(d *delivery, c *Chunk) error {
		return d.ob.Requeue(d.t.Context(), c, slices.Clone(d.all[5:10]))
	})
	f("Withdraw", "DELETE ON upload_checkpoints", "withdraw chunk", func(d *delivery, c *Chunk) error {
		return d.ob.Withdraw(d.t.Context(), c)
	})
	f("MoveTo", lastOne, "move to dead letters", func(d *delivery, _ *Chunk) error {
		return d.ob.MoveToDeadLetters(d.t.Context(), []Rejection{{Key: d.all[30], Reason: "r"}})
	})
	f("MarkUnsendable", lastOne, "mark text rows", func(d *delivery, _ *Chunk) error {
		return d.ob.MarkUnsendable(d.t.Context(), d.all[30:31])
	})
	f("RecordSending again", "UPDATE ON upload_checkpoints", "record chunks", func(d *delivery, c *Chunk) error {
		return d.ob.RecordSending(d.t.Context(), c)
	})
}

// TestRecordSending_Failed: of several chunks none has an id unless all have one.
func TestRecordSending_Failed(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	again := d.record(true, d.all[:5]...)
	d.do(d.ob.Requeue(t.Context(), again, d.all[:5]))
	before := dump(t, d.db)
	first, second := newChunk(d.all[5:10], true), newChunk(d.all[10:15], true)
	first.State = Sending // whatever stands there
	second.BatchID = first.BatchID
	err := d.ob.RecordSending(t.Context(), again, first, second)
	if err == nil || !strings.Contains(err.Error(), "UNIQUE") {
		t.Fatalf("got %v, want a UNIQUE violation", err)
	}
	if again.ID == 0 || again.State != Requeued || first.ID != 0 || second.ID != 0 || second.State != "" {
		t.Errorf("got %+v, %+v, %+v", again, first, second)
	}
	if after := dump(t, d.db); after != before {
		t.Errorf("the file changed:\n%s", diff(after, before))
	}
	second.Index = 1
	d.do(d.ob.RecordSending(t.Context(), again, first, second))
	d.check(d.all, again, first, second)
}

// TestDelivery_UnknownChunk: what is not recorded must not be taken for recorded.
func TestDelivery_UnknownChunk(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	before := dump(t, d.db)
	for name, op := range map[string]func(c *Chunk) error{
		"RecordSending": func(c *Chunk) error { return d.ob.RecordSending(t.Context(), c) },
		"MarkUploaded":  func(c *Chunk) error { return d.ob.MarkUploaded(t.Context(), c, nil, nil) },
		"MarkVerified":  func(c *Chunk) error { return d.ob.MarkVerified(t.Context(), c) },
		"Requeue":       func(c *Chunk) error { return d.ob.Requeue(t.Context(), c, d.all[:1]) },
	} {
		c := newChunk(d.all[:5], true)
		c.ID = 12345
		if err := op(c); err == nil || !strings.Contains(err.Error(), "chunk 12345 is not in the file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if after := dump(t, d.db); after != before {
		t.Errorf("the file changed:\n%s", diff(after, before))
	}
}

// TestDelivery_FullDisk: no room for a record of what is about to leave.
func TestDelivery_FullDisk(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	o.MaxPages = 120
	in, ob := openInserter(t, o, time.Hour), openOutbox(t, o)
	fill(t, in, numberSeries(100))
	db := rawDB(t, path)
	before := dump(t, db)
	c := newChunk(pendingKeys(t, ob, 10_000, nil), true)
	err := ob.RecordSending(t.Context(), c)
	if !errors.Is(err, ErrFull) || c.ID != 0 || c.State != "" {
		t.Fatalf("got %v, %+v, want ErrFull", err, c)
	}
	if after := dump(t, db); after != before {
		t.Errorf("the file changed:\n%s", diff(after, before))
	}
	if want := "record chunks: disk full; free disk space, or lower storage.max_size_mb: "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
	checkConsistent(t, db)
}

func TestOpenChunks_Damaged(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	c := d.record(true, d.all[:5]...)
	mustExec(t, d.db, "UPDATE upload_checkpoints SET row_keys = x'0500'")
	_, err := d.ob.OpenChunks(t.Context())
	if want := fmt.Sprintf("read open chunks: chunk %d: ", c.ID); ClassOf(err) != OfPart || !strings.HasPrefix(err.Error(), want) ||
		!strings.HasSuffix(err.Error(), "row_keys: not ascending keys") {
		t.Errorf("got %v, want %s…", err, want)
	}
}
