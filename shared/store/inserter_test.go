package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestInsert_RowsComeBack(t *testing.T) {
	t.Parallel()
	// Around the sizes at which a statement of mostRows rows begins or ends.
	for _, n := range []int{0, 1, mostRows - 1, mostRows, mostRows + 1, 2*mostRows - 1, 2 * mostRows, 2*mostRows + 1, 3 * mostRows, 250} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			in := openInserter(t, options(path), time.Hour)
			series := numberSeries(n)
			var want []string
			for tick := range 3 { // the first makes the series, the others find them
				ts := tick0.Add(time.Duration(tick) * time.Second)
				all := samples(series, 1000*float64(tick))
				mustInsert(t, in, ts, all)
				for _, s := range all {
					want = append(want, line(s.Series.Device, ts.UnixMilli(), s.Series.Name, s.Series.Tags, s.Value, nil, int64(0), int64(0), in.Session().UUID, ts.UnixMilli(), "unconfirmed"))
				}
			}
			got := queryLines(t, rawDB(t, path), "SELECT * FROM metric_rows")
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got %d rows, want %d", len(got), len(want))
			}
			if got := queryInt(t, rawDB(t, path), "SELECT count(*) FROM series"); got != int64(n) {
				t.Errorf("%d series, want %d", got, n)
			}
		})
	}
}

// TestInsert_SameBatchTwice: the same samples again are no new rows, from this handle,
// from another process, or by hand.
func TestInsert_SameBatchTwice(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	all := append(samples(numberSeries(150), 1), Sample{Series: NewSeries("device", "text", Text), Text: "x"})
	mustInsert(t, in, tick0, all)
	before := queryLines(t, rawDB(t, path), "SELECT * FROM metrics")

	for i := range all {
		all[i].Value, all[i].Text = -1, "y" // the first value stays
	}
	r, err := in.Insert(t.Context(), tick0, all)
	if want := (InsertResult{Duplicates: 151}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	if after := queryLines(t, rawDB(t, path), "SELECT * FROM metrics"); !slices.Equal(after, before) {
		t.Error("the second insert changed rows")
	}

	// Another process with its own Series for the same identities.
	again := openInserter(t, options(path), time.Hour)
	r, err = again.Insert(t.Context(), tick0, samples(numberSeries(150), 1))
	if want := (InsertResult{Duplicates: 150}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	_, err = rawDB(t, path).Exec("INSERT INTO metrics (dedup_key, value) SELECT dedup_key, -1 FROM metrics LIMIT 1")
	if err == nil || !strings.Contains(err.Error(), "UNIQUE constraint failed: metrics.dedup_key") {
		t.Errorf("a row with the key of another: %v", err)
	}
}

// TestInsert_FirstOfTwo: of two samples of one series in a tick the first is stored, wherever they
// are.
func TestInsert_FirstOfTwo(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	all := append(samples(numberSeries(300), 1), samples(numberSeries(300), 1000)...)
	r, err := in.Insert(t.Context(), tick0, all)
	if want := (InsertResult{Inserted: 300, Duplicates: 300}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	if got := queryInt(t, rawDB(t, path), "SELECT count(*) FROM metrics WHERE value >= 1000"); got != 0 {
		t.Errorf("%d series have their second sample", got)
	}
}

func TestInsert_Mixture(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	series := numberSeries(100)
	mustInsert(t, in, tick0, samples(series[:40], 1))

	all := samples(series, 2)          // 40 duplicates, 60 new
	all = append(all, all[99], all[0]) // two more duplicates, of this tick and of the first
	text := NewSeries("device", "metric.0", Text, Tag{"part", "0"})
	odd := []Sample{
		{Series: NewSeries("device", "nan", Number), Value: math.NaN()},
		{Series: NewSeries("device", "inf", Number), Value: math.Inf(1)},
		{Series: NewSeries("device", "-inf", Number), Value: math.Inf(-1)},
		{Series: series[50], Value: math.NaN()}, // the other sample of this series is good
		{Series: NewSeries("device", "greatest", Number), Value: math.MaxFloat64},
		{Series: NewSeries("device", "least", Number), Value: math.SmallestNonzeroFloat64},
		{Series: NewSeries("device", "minus zero", Number), Value: math.Copysign(0, -1)},
		{Series: text, Text: "6.1.0", Value: math.NaN()}, // the value of a text means nothing
		{Series: text, Text: "again"},
		{Series: NewSeries("device", "empty", Text)},
	}
	all = slices.Insert(all, len(all)/2, odd...)
	r, err := in.Insert(t.Context(), tick0, all)
	if want := (InsertResult{Inserted: 60 + 3 + 2, Duplicates: 42 + 1, Invalid: 4}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	if sum := r.Inserted + r.Duplicates + r.Invalid; sum != len(all) {
		t.Errorf("%d samples are accounted for, want %d", sum, len(all))
	}
	db := rawDB(t, path)
	if got := queryInt(t, db, "SELECT count(*) FROM metrics"); got != 40+65 {
		t.Errorf("%d rows, want %d", got, 40+65)
	}
	got := queryLines(t, db, "SELECT value, value_text, value_type FROM metric_rows WHERE value_type = 1 ORDER BY value_text")
	if want := []string{line(nil, "", int64(1)), line(nil, "6.1.0", int64(1))}; !slices.Equal(got, want) {
		t.Errorf("texts: got %q, want %q", got, want)
	}
	// Refused values leave no series behind.
	if got := queryInt(t, db, "SELECT count(*) FROM series WHERE name IN ('nan', 'inf', '-inf')"); got != 0 {
		t.Errorf("%d series of refused values, want none", got)
	}
	checkConsistent(t, db)
}

func TestInsert_Timestamps(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	all := samples(numberSeries(3), 1)
	f := func(ts time.Time, want InsertResult) {
		t.Helper()
		if r, err := in.Insert(t.Context(), ts, all); err != nil || r != want {
			t.Errorf("%v: got %+v, %v, want %+v", ts, r, err, want)
		}
	}
	stored, refused := InsertResult{Inserted: 3}, InsertResult{Invalid: 3, Ended: true}
	f(time.UnixMilli(-1), refused)
	f(time.UnixMicro(-1), refused) // a millisecond before 1970, not 1970
	f(time.Time{}, refused)
	f(time.UnixMilli(MaxTimestampMS+1), refused)
	f(time.UnixMilli(0), stored)
	f(time.UnixMicro(1), InsertResult{Duplicates: 3}) // the same millisecond
	f(time.UnixMilli(MaxTimestampMS), stored)
	f(tick0.In(time.FixedZone("", 3600)), stored)
	f(tick0, InsertResult{Duplicates: 3}) // the same moment
	if got := queryLines(t, rawDB(t, path), "SELECT DISTINCT timestamp_ms FROM metric_rows ORDER BY 1"); len(got) != 3 {
		t.Errorf("timestamps %v, want 3", got)
	}
	checkConsistent(t, rawDB(t, path))
}

func TestInsert_CancelledContext(t *testing.T) {
	t.Parallel()
	in := openInserter(t, options(newPath(t)), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	series := numberSeries(3)
	if r, err := in.Insert(ctx, tick0, samples(series, 1)); !errors.Is(err, context.Canceled) || r != (InsertResult{}) {
		t.Errorf("got %+v, %v, want %v", r, err, context.Canceled)
	}
	mustInsert(t, in, tick0, samples(series, 1))
}

// TestInsert_ClockBack: rows that come in behind the low-water mark are found.
func TestInsert_ClockBack(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	series := numberSeries(10)
	mustInsert(t, in, tick0, samples(series, 1))
	if err := ob.MarkUploaded(t.Context(), recordPending(t, ob, 100), nil, nil); err != nil {
		t.Fatal(err)
	}
	mark := queryInt(t, ob.db, "SELECT low_water FROM outbox")
	if last := PackKey(tick0.UnixMilli(), 10); mark <= int64(last) {
		t.Fatalf("low_water %d is not past the last row %d: the test proves nothing", mark, last)
	}

	// A tick that is refused as a whole has nothing to announce.
	if _, err := in.Insert(t.Context(), tick0, samples(series, 1)); err != nil {
		t.Fatal(err)
	}
	if got := queryInt(t, ob.db, "SELECT low_water FROM outbox"); got != mark {
		t.Errorf("low_water moved from %d to %d", mark, got)
	}
	for _, back := range []time.Duration{time.Millisecond, time.Hour, 30 * time.Minute, 50 * 365 * 24 * time.Hour} {
		mustInsert(t, in, tick0.Add(-back), samples(series, 1))
		checkConsistent(t, ob.db)
	}
	mustInsert(t, in, tick0.Add(time.Second), samples(series, 1))
	rows, err := ob.Pending(t.Context(), 0, 1000, nil)
	if err != nil || len(rows) != 50 {
		t.Fatalf("%d pending rows, %v, want 50", len(rows), err)
	}
	if first := rows[0].Key.TimestampMS(); first != tick0.Add(-50*365*24*time.Hour).UnixMilli() {
		t.Errorf("the first is of %d", first)
	}
}

// TestInsert_TooManySeries gives the file the last series there can be.
func TestInsert_TooManySeries(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	old := numberSeries(80)
	mustInsert(t, in, tick0, samples(old[:40], 1))
	mustExec(t, rawDB(t, path), "INSERT INTO series (id, dedup_key, name, tags, device_id, value_type) VALUES (?, x'00', 'last', '{}', 'device', 0)", MaxSeries)
	for tick := 1; tick <= 2; tick++ { // it does not get worse with time
		ts := tick0.Add(time.Duration(tick) * time.Second)
		r, err := in.Insert(t.Context(), ts, samples(old, 1))
		if want := (InsertResult{Inserted: 40, Invalid: 40}); err != nil || r != want {
			t.Errorf("tick %d: got %+v, %v, want %+v", tick, r, err, want)
		}
	}
	if got := queryInt(t, rawDB(t, path), "SELECT count(*) FROM metrics"); got != 120 {
		t.Errorf("%d rows, want 120", got)
	}
	// A row of the last series is one like any other.
	last := &Series{id: MaxSeries}
	mustInsert(t, in, time.UnixMilli(MaxTimestampMS), []Sample{{Series: last, Value: 1}})
	checkConsistent(t, rawDB(t, path))
}

func TestInsert_WhileCheckpointing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	done := make(chan error)
	go func() {
		var err error
		for range 20 {
			_, e := in.Checkpoint(context.Background())
			err = errors.Join(err, e)
		}
		done <- err
	}()
	series := numberSeries(70)
	for tick := range 100 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(series, 1))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := queryInt(t, rawDB(t, path), "SELECT count(*) FROM metrics"); got != 7000 {
		t.Errorf("%d rows, want 7000", got)
	}
}

// TestInserter_LooksAfterOthers: a tick reads what others wrote only if they wrote something.
func TestInserter_LooksAfterOthers(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
	series := numberSeries(3)
	tick := 0
	looks := func() bool {
		t.Helper()
		before := in.looked
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(series, float64(tick)))
		tick++
		return in.looked != before
	}
	if !looks() {
		t.Error("the first tick does not look")
	}
	for range 2 {
		if looks() {
			t.Error("a tick looks, and nobody else wrote")
		}
	}
	if err := in.SaveStats(t.Context(), []Stat{{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	if looks() {
		t.Error("a tick looks after a transaction of its own daemon")
	}
	for range 3 {
		if err := ob.SaveStats(t.Context(), []Stat{{Name: "a"}}); err != nil {
			t.Fatal(err)
		}
		if !looks() || looks() {
			t.Error("want one look after the other daemon wrote")
		}
	}
	if _, err := ob.Backlog(t.Context()); err != nil {
		t.Fatal(err)
	}
	if looks() {
		t.Error("a tick looks after the other daemon read")
	}
}
