package store

import (
	"database/sql"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	text := NewSeries("device", "system.kernel_release", Text)
	mustInsert(t, d.in, tick0, []Sample{{Series: text, Text: "6.1.0"}})
	d.do(d.ob.MoveToDeadLetters(t.Context(), []Rejection{
		{d.all[12], "rejected", "HTTP 400: bad label"},
		{PackKey(tick0.UnixMilli(), text.id), "no_number", ""},
		{d.all[3], "too_large", ""},
	}))
	want := []DeadLetter{
		{ID: 1, Name: "metric.0", Tags: `{"part":"2"}`, TimestampMS: d.all[12].TimestampMS(), Value: sql.NullFloat64{Float64: 12, Valid: true}, Reason: "rejected", Detail: "HTTP 400: bad label"},
		{ID: 2, Name: "system.kernel_release", Tags: "{}", TimestampMS: tick0.UnixMilli(), Text: "6.1.0", Type: Text, Reason: "no_number"},
		{ID: 3, Name: "metric.0", Tags: `{"part":"3"}`, TimestampMS: d.all[3].TimestampMS(), Value: sql.NullFloat64{Float64: 3, Valid: true}, Reason: "too_large"},
	}
	for i := range want {
		want[i].Device, want[i].Created = "device", d.wall
		want[i].place = sql.NullInt64{Int64: int64([]Key{d.all[12], PackKey(tick0.UnixMilli(), text.id), d.all[3]}[i]), Valid: true}
	}
	f := func(after int64, limit int, want []DeadLetter) {
		t.Helper()
		got, err := d.ob.DeadLetters(t.Context(), after, limit)
		if err != nil || !(len(got)+len(want) == 0 || reflect.DeepEqual(got, want)) {
			t.Errorf("after %d, limit %d:\ngot  %+v, %v\nwant %+v", after, limit, got, err, want)
		}
	}
	f(0, 100, want)
	f(0, 2, want[:2])
	f(2, 2, want[2:])
	f(3, 100, nil)
	f(0, 0, nil)
}

func TestRetryDeadLetter(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.do(d.ob.MarkUploaded(t.Context(), d.record(true, d.all[:20]...), []Rejection{{Key: d.all[5], Reason: "r"}}, nil))
	d.check(d.all[20:])
	retried, err := retryDeadLetter(t.Context(), d.ob.w, 1)
	if err != nil || !retried {
		t.Fatalf("got %v, %v", retried, err)
	}
	d.check(slices.Concat(d.all[5:6], d.all[20:]))
	if len(d.letters()) != 0 {
		t.Errorf("it is still a dead letter: %q", d.letters())
	}
	rows, err := d.ob.Rows(t.Context(), d.all[5:6])
	if want := []Row{{Key: d.all[5], Value: 5}}; err != nil || !slices.Equal(rows, want) {
		t.Errorf("got %v, %v, want %v", rows, err, want)
	}
	// It fails once more.
	d.do(d.ob.MoveToDeadLetters(t.Context(), []Rejection{{Key: d.all[5], Reason: "again"}}))
	d.check(d.all[20:])
}

// TestRetryDeadLetter_Never has letters that stay what they are.
func TestRetryDeadLetter_Never(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	f := func(name string, ts int64, value, text any, typ ValueType) {
		t.Helper()
		mustExec(t, d.db, `INSERT INTO dead_letters (device_id, timestamp_ms, name, tags, value, value_text, value_type, reason, created_ms)
			VALUES ('device', ?, 'metric.0', '{"part":"0"}', ?, ?, ?, 'r', 1)`, ts, value, text, int(typ))
		id := queryInt(t, d.db, "SELECT max(id) FROM dead_letters")
		before := dump(t, d.db)
		if retried, err := retryDeadLetter(t.Context(), d.ob.w, id); err != nil || retried {
			t.Errorf("%s: got %v, %v, want it to stay", name, retried, err)
		}
		if after := dump(t, d.db); after != before {
			t.Errorf("%s: the file changed:\n%s", name, diff(after, before))
		}
	}
	f("a text", tick0.UnixMilli()+1, nil, "x", Text)
	f("no value", tick0.UnixMilli()+1, nil, nil, Number)
	f("before 1970", -1, 1.0, nil, Number)
	f("after 2039", MaxTimestampMS+1, 1.0, nil, Number)
	f("the place is taken", tick0.UnixMilli(), 1.0, nil, Number)
	_, err := retryDeadLetter(t.Context(), d.ob.w, 12345)
	if err == nil || !strings.Contains(err.Error(), "retry dead letter 12345: not found") {
		t.Errorf("got %v", err)
	}
}

// TestRetryDeadLetter_FromOldFile retries one that the upgrade made, of a series
// that has no rows: the number is right, only its neighbour was kept.
func TestRetryDeadLetter_FromOldFile(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	mustExec(t, d.db, `INSERT INTO dead_letters (device_id, timestamp_ms, name, tags, value, value_type, reason, created_ms)
		VALUES ('other', ?, 'unknown', '{"a":"1"}', 2.5, 0, 'r', 1)`, tick0.UnixMilli())
	retried, err := retryDeadLetter(t.Context(), d.ob.w, 1)
	if err != nil || !retried {
		t.Fatalf("got %v, %v", retried, err)
	}
	got := queryLines(t, d.db, "SELECT timestamp_ms, tags, value, uploaded FROM metric_rows WHERE device_id = 'other' AND name = 'unknown'")
	if want := line(tick0.UnixMilli(), `{"a":"1"}`, 2.5, int64(0)); len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %s", got, want)
	}
	checkConsistent(t, d.db)
	// The inserter finds the same series.
	r, err := d.in.Insert(t.Context(), tick0, []Sample{{Series: NewSeries("other", "unknown", Number, Tag{"a", "1"})}})
	if want := (InsertResult{Duplicates: 1}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
}

// TestRetryDeadLetter_LowersTheMark: it is older than all that is pending.
func TestRetryDeadLetter_LowersTheMark(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	d.do(d.ob.MarkUploaded(t.Context(), d.record(true, d.all...), []Rejection{{Key: d.all[0], Reason: "r"}}, nil))
	if _, err := d.ob.Prune(t.Context(), tick0.Add(time.Hour), 1000); err != nil {
		t.Fatal(err)
	}
	if retried, err := retryDeadLetter(t.Context(), d.ob.w, 1); err != nil || !retried {
		t.Fatalf("got %v, %v", retried, err)
	}
	d.check(d.all[:1])
}
