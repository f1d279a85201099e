package store

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPending_OrderAndContent(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(5)
	text := NewSeries("device", "text", Text)
	// The ticks come in any order, and so do the series in a tick.
	for _, tick := range []int{3, 0, 2, 1} {
		all := append(samples(series, 10*float64(tick)), Sample{Series: text, Text: "x"})
		slices.Reverse(all)
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), all)
	}
	rows, err := ob.Pending(t.Context(), 0, 100, nil)
	if err != nil || len(rows) != 24 {
		t.Fatalf("%d rows, %v, want 24", len(rows), err)
	}
	for i, r := range rows {
		if i > 0 && rows[i-1].Key >= r.Key {
			t.Errorf("row %d is out of order", i)
		}
		s, err := ob.Series(t.Context(), r.Key.SeriesID())
		if err != nil {
			t.Fatal(err)
		}
		tick := r.Key.TimestampMS() - tick0.UnixMilli()
		want := 10 * float64(tick/1000)
		if n := slices.IndexFunc(series, func(x *Series) bool { return x.id == s.ID }); n >= 0 {
			want += float64(n)
		}
		if r.Null != (s.Type == Text) || !r.Null && r.Value != want {
			t.Errorf("series %d of %d ms: got %+v, want %v", s.ID, tick, r, want)
		}
	}
}

func TestPending_FromLimitOwned(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(10)
	var all KeySet
	for tick := range 10 {
		ts := tick0.Add(time.Duration(tick) * time.Second)
		mustInsert(t, in, ts, samples(series, 1))
		for _, s := range series {
			all = append(all, PackKey(ts.UnixMilli(), s.id))
		}
	}
	f := func(what string, from Key, limit int, owned func(Key) bool, want KeySet) {
		t.Helper()
		rows, err := ob.Pending(t.Context(), from, limit, owned)
		got := KeySet{}
		for _, r := range rows {
			got = append(got, r.Key)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", what, got, err, want)
		}
	}
	f("all", 0, 1000, nil, all)
	f("none wanted", 0, 0, nil, nil)
	f("one", 0, 1, nil, all[:1])
	f("exactly all", 0, 100, nil, all)
	f("from the middle", all[37], 5, nil, all[37:42])
	f("from between two", all[37]+1, 5, nil, all[38:43])
	f("from the last", all[99], 5, nil, all[99:])
	f("from beyond", all[99]+1, 5, nil, nil)
	f("from before 1970", -5, 2, nil, all[:2])

	owned := func(k Key) bool { i, found := slices.BinarySearch(all, k); return found && i%3 == 0 }
	var free KeySet
	for _, k := range all {
		if !owned(k) {
			free = append(free, k)
		}
	}
	f("unowned", 0, 1000, owned, free)
	f("unowned, some", 0, 7, owned, free[:7])
	f("all owned", 0, 7, func(Key) bool { return true }, nil)

	// What is done is not pending, wherever it stands.
	if err := ob.MarkUnsendable(t.Context(), slices.Clone(all[10:20])); err != nil {
		t.Fatal(err)
	}
	f("done in the middle", 0, 1000, nil, slices.Concat(all[:10], all[20:]))
	if err := ob.MarkUnsendable(t.Context(), slices.Clone(all[:10])); err != nil {
		t.Fatal(err)
	}
	f("done at the beginning", 0, 1000, nil, all[20:])
	f("from below the mark", all[3], 1, nil, all[20:21])
	checkConsistent(t, ob.db)
}

// TestPending_Pages reads more than one page of 10,000, with owned rows that
// make the pages end elsewhere.
func TestPending_Pages(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(1000)
	for tick := range 25 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(series, 1))
	}
	f := func(limit int, owned func(Key) bool, want int) {
		t.Helper()
		rows, err := ob.Pending(t.Context(), 0, limit, owned)
		if err != nil || len(rows) != want {
			t.Errorf("limit %d: %d rows, %v, want %d", limit, len(rows), err, want)
		}
		if !slices.IsSortedFunc(rows, func(a, b Row) int { return cmp.Compare(a.Key, b.Key) }) {
			t.Errorf("limit %d: rows are not sorted", limit)
		}
	}
	odd := func(k Key) bool { return k.SeriesID()%2 == 1 }
	f(9_999, nil, 9_999)
	f(10_000, nil, 10_000)
	f(10_001, nil, 10_001)
	f(20_000, nil, 20_000)
	f(1_000_000, nil, 25_000)
	f(12_000, odd, 12_000)
	f(1_000_000, odd, 12_500)
}

// TestPending_GreatestKey: the search must not begin anew after the last key
// there can be.
func TestPending_GreatestKey(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	mustInsert(t, in, tick0, samples(numberSeries(1), 1))
	mustExec(t, in.db, "INSERT INTO series (id, dedup_key, name, tags, device_id, value_type) VALUES (?, x'00', 'last', '{}', 'device', 0)", MaxSeries)
	mustInsert(t, in, time.UnixMilli(MaxTimestampMS), []Sample{{Series: &Series{id: MaxSeries}, Value: 1}})
	first := func(k Key) bool { return k.TimestampMS() == tick0.UnixMilli() }
	if keys := pendingKeys(t, ob, 2, first); len(keys) != 1 {
		t.Errorf("pending %v, want the last key once", []Key(keys))
	}
	c := recordPending(t, ob, 10)
	if err := ob.MarkUploaded(t.Context(), c, nil, nil); err != nil {
		t.Fatal(err)
	}
	if keys := pendingKeys(t, ob, 10, nil); len(keys) != 0 {
		t.Errorf("pending %v, want none", []Key(keys))
	}
	mustInsert(t, in, tick0.Add(time.Second), samples(numberSeries(1), 1))
	if keys := pendingKeys(t, ob, 10, nil); len(keys) != 1 {
		t.Errorf("pending %v, want the new one", []Key(keys))
	}
	checkConsistent(t, ob.db)
}

func TestRows(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	mustInsert(t, in, tick0, append(samples(numberSeries(100), 1), Sample{Series: NewSeries("d", "text", Text), Text: "x"}))
	all, err := ob.Pending(t.Context(), 0, 1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var keys KeySet
		var want []Row
		for _, r := range all {
			if rapid.Bool().Draw(t, "take") {
				keys, want = append(keys, r.Key), append(want, r)
			}
			if rapid.IntRange(0, 9).Draw(t, "gone") == 0 {
				keys = append(keys, PackKey(r.Key.TimestampMS()+1, r.Key.SeriesID()))
			}
		}
		got, err := ob.Rows(background, keys.Sorted())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	})
}

func TestSeries(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	f := func(s *Series, want SeriesInfo) {
		t.Helper()
		r, err := in.Insert(t.Context(), tick0, []Sample{{Series: s, Value: 1, Text: "x"}})
		if err != nil || r.Inserted != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		want.ID = s.id
		for range 2 {
			got, err := ob.Series(t.Context(), s.id)
			if err != nil || fmt.Sprint(*got) != fmt.Sprint(want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
	}
	f(NewSeries("d-1", "cpu.usage_percent", Number, Tag{"core", "all"}, Tag{"a", "é\"\\"}),
		SeriesInfo{Device: "d-1", Name: "cpu.usage_percent", Tags: []Tag{{"a", "é\"\\"}, {"core", "all"}}})
	f(NewSeries("d-1", "system.kernel_release", Text), SeriesInfo{Device: "d-1", Name: "system.kernel_release", Type: Text})
	f(NewSeries("", "", Number), SeriesInfo{})
	if got, err := ob.Series(t.Context(), 4000); err != nil || got.Fault != UnknownSeries || got.Detail != "series 4000 is not in the file" {
		t.Errorf("got %+v, %v, want %s", got, err, UnknownSeries)
	}
}
