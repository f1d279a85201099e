package store

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/store/storetest"
)

// addEpochs writes epochs into a file as collectord and shipperd would.
func addEpochs(t tester, db *sql.DB, epochs ...Epoch) {
	t.Helper()
	for _, e := range epochs {
		var offset, how any
		if e.How != HowUnknown {
			offset, how = e.TrueOffset, string(e.How)
		}
		mustExec(t, db, "INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?)",
			int64(e.First), e.Boot, e.WallOffset, e.WallMinusBoot, e.Synchronised, offset, how)
	}
}

func at(ms int64) Key { return PackKey(tick0.UnixMilli()+ms, 0) }

func TestTimeline(t *testing.T) {
	t.Parallel()
	line := Timeline{
		{How: HowUnconfirmed},
		{First: at(1000), TrueOffset: 0, How: HowClock},
		{First: at(2000), WallOffset: -500, TrueOffset: 5000, How: HowKernel},
		{First: at(3000), WallOffset: -500, TrueOffset: 5000, How: HowServer},
		{First: at(4000), WallOffset: -700, TrueOffset: 9, How: HowUnknown},
		{First: at(5000), WallOffset: -700, How: HowUnknown},
		{First: at(6000), WallOffset: -700, TrueOffset: -700, How: HowClock},
	}
	for ms, want := range map[int64]int64{0: 0, 999: 0, 1000: 0, 2000: 5000, 3999: 5000, 4000: -700, 6000: -700, 1e9: -700} {
		if got := line.MS(at(ms)) - tick0.UnixMilli() - ms; got != want {
			t.Errorf("offset at %d ms: %d, want %d", ms, got, want)
		}
	}
	ends := map[int64]Key{0: at(2000), 1500: at(2000), 2000: at(4000), 3000: at(4000), 4000: at(6000), 5500: at(6000), 6000: math.MaxInt64}
	for ms, want := range ends {
		if got := line.End(at(ms)); got != want {
			t.Errorf("end of %d ms: %d, want %d", ms, got, want)
		}
	}
	if got := line.Known(); got != at(4000) {
		t.Errorf("known up to %d, want %d", got, at(4000))
	}
	if got := line[:4].Known(); got != math.MaxInt64 {
		t.Errorf("all is known: %d", got)
	}
	for i, want := range []bool{false, false, true, true, false, false, false} {
		if got := line[i].Corrected(); got != want {
			t.Errorf("epoch %d: corrected is %v", i, got)
		}
	}
}

// timelines draws a timeline whose epochs lie close together, so that their true times overlap.
func timelines() *rapid.Generator[Timeline] {
	return rapid.Custom(func(t *rapid.T) Timeline {
		first := rapid.SliceOfNDistinct(rapid.Int64Range(0, 400), 1, 6, rapid.ID[int64]).Draw(t, "first")
		slices.Sort(first)
		first[0] = 0
		line := make(Timeline, len(first))
		for i := range line {
			line[i] = Epoch{
				First: PackKey(first[i], 0), WallOffset: rapid.Int64Range(-600, 600).Draw(t, "wall"),
				TrueOffset: rapid.Int64Range(-600, 600).Draw(t, "true"), How: rapid.SampledFrom([]How{HowUnknown, HowClock}).Draw(t, "how"),
			}
		}
		return line
	})
}

// TestTimeline_Ranges: they hold exactly the rows of a span of time, whatever the epochs are.
func TestTimeline_Ranges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		line := timelines().Draw(t, "line")
		from := rapid.Int64Range(-700, 1200).Draw(t, "from")
		to := from + rapid.Int64Range(-2, 500).Draw(t, "span")
		ranges := line.Ranges(from, to)
		for i, r := range ranges {
			if r.From > r.To || i > 0 && r.From <= ranges[i-1].To+1 {
				t.Errorf("ranges %v", ranges)
			}
		}
		for ms := range int64(500) {
			for _, id := range []int64{0, 1, MaxSeries} {
				k := PackKey(ms, id)
				got := slices.ContainsFunc(ranges, func(r KeyRange) bool { return r.From <= k && k <= r.To })
				if want := from <= line.MS(k) && line.MS(k) <= to; got != want {
					t.Fatalf("%v, %d..%d: key of %d ms, time %d: inside is %v", line, from, to, ms, line.MS(k), got)
				}
			}
		}
		for _, k := range []Key{0, PackKey(rapid.Int64Range(0, 500).Draw(t, "ms"), 5)} {
			end := line.End(k)
			for _, e := range line {
				if e.First > k && e.First < end && e.Offset() != line.Epoch(k).Offset() {
					t.Errorf("the end of %d is %d, behind the epoch at %d", k, end, e.First)
				}
			}
			if end != math.MaxInt64 && line.Epoch(end).Offset() == line.Epoch(k).Offset() && (line.Epoch(end).How == "") == (line.Epoch(k).How == "") {
				t.Errorf("the end of %d is %d, which is alike", k, end)
			}
		}
	})
}

// TestTimeline_Extremes: no span and no offset leaves the range of keys.
func TestTimeline_Extremes(t *testing.T) {
	t.Parallel()
	for _, offset := range []int64{0, 1, -1, MaxTimestampMS, -MaxTimestampMS} {
		line := Timeline{{TrueOffset: offset, How: HowClock}}
		got := line.Ranges(math.MinInt64/2, math.MaxInt64/2)
		if want := []KeyRange{allKeys}; !reflect.DeepEqual(got, want) {
			t.Errorf("offset %d: %v", offset, got)
		}
		if got := line.Ranges(-3*MaxTimestampMS, -2*MaxTimestampMS); got != nil {
			t.Errorf("offset %d, before all: %v", offset, got)
		}
		if got := line.Ranges(2*MaxTimestampMS+1, 3*MaxTimestampMS); got != nil {
			t.Errorf("offset %d, behind all: %v", offset, got)
		}
	}
}

// TestTimeline_Now: the present epoch says how wrong the wall clock is, and nothing but that one.
func TestTimeline_Now(t *testing.T) {
	t.Parallel()
	boot := tick0.UnixMilli() - 60_000
	e := Epoch{First: at(0), Boot: "a", WallOffset: -5000, WallMinusBoot: boot, TrueOffset: 2000, How: HowServer}
	f := func(what string, e Epoch, id string, wall, since int64, want int64) {
		t.Helper()
		m := clock.Moment{Wall: tick0.Add(time.Duration(wall) * time.Millisecond), Boot: time.Duration(since) * time.Millisecond, BootID: id}
		if got := (Timeline{{How: HowUnconfirmed}, e}).Now(m).UnixMilli() - tick0.UnixMilli(); got != want {
			t.Errorf("%s: %d ms, want %d", what, got, want)
		}
	}
	f("corrected", e, "a", 1000, 61_000, 8000)
	f("slewed", e, "a", 1499, 61_000, 8499)
	f("set", e, "a", 1500, 61_000, 1500)
	f("other boot", e, "b", 1000, 61_000, 1000)
	e.How = HowUnknown
	f("not known", e, "a", 1000, 61_000, 1000)
	e.How, e.Boot = HowServer, ""
	f("boot without a name", e, "", 1000, 61_000, 1000)
}

// TestProbe_Epochs: charts find exactly the rows of their span, whatever the epochs are.
func TestProbe_Epochs(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	series := numberSeries(2)
	for ms := int64(0); ms < 500; ms += 7 {
		mustInsert(t, in, time.UnixMilli(ms), samples(series, float64(ms)))
	}
	r, db := openReader(t, path), rawDB(t, path)
	rapid.Check(t, func(t *rapid.T) {
		line := timelines().Draw(t, "line")
		mustExec(t, db, "DELETE FROM epochs")
		addEpochs(t, db, line...)
		from := rapid.Int64Range(0, 600).Draw(t, "from")
		to := from + rapid.Int64Range(1, 500).Draw(t, "span")
		var want []point
		for ms := int64(0); ms < 500; ms += 7 {
			if k := PackKey(ms, 1); from <= line.MS(k) && line.MS(k) < to {
				want = append(want, point{1, line.MS(k), float64(ms)})
			}
		}
		if got := probe(t, r, []int64{1}, from, to, 1); !slices.Equal(got, want) {
			t.Errorf("%v, %d..%d: got %v, want %v", line, from, to, got, want)
		}
		// Of the spans of a longer distance the first ones.
		every := rapid.Int64Range(2, 60).Draw(t, "every")
		for _, p := range probe(t, r, []int64{1}, from, to, every) {
			if !slices.Contains(want, p) {
				t.Errorf("%v, %d..%d every %d: %v is not of it", line, from, to, every, p)
			}
		}
	})
}

// TestCorrect: what is known stays as it is, also when a second answer differs.
func TestCorrect(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	db := rawDB(t, path)
	a := Epoch{First: at(0), Boot: "a", WallOffset: -1000, WallMinusBoot: 7, Synchronised: sql.NullBool{Bool: true, Valid: true}}
	b := Epoch{First: at(1000), Boot: "a", WallOffset: 1000, WallMinusBoot: 2007}
	addEpochs(t, db, a, b)
	f := func(want ...Epoch) {
		t.Helper()
		for name, read := range map[string]func() (Timeline, error){
			"inserter": func() (Timeline, error) { return in.Timeline(t.Context()) },
			"outbox":   func() (Timeline, error) { return ob.Timeline(t.Context()) },
		} {
			got, err := read()
			if want := append(Timeline{{How: HowUnconfirmed}}, want...); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
			}
		}
	}
	f(a, b)
	if err := ob.Correct(t.Context()); err != nil {
		t.Error(err)
	}
	b.TrueOffset, b.How = 5, HowKernel
	if err := ob.Correct(t.Context(), b); err != nil {
		t.Error(err)
	}
	f(a, b)
	other := b
	other.TrueOffset, other.How = 6, HowClock
	a.TrueOffset, a.How = -1000, HowClock
	gone := Epoch{First: at(500), TrueOffset: 1, How: HowServer}
	if err := ob.Correct(t.Context(), a, other, gone); err != nil {
		t.Error(err)
	}
	f(a, b)
	if err := ob.Correct(t.Context(), Epoch{First: 0, TrueOffset: 1, How: HowServer}); err != nil {
		t.Error(err)
	}
	f(a, b)
}

// TestCorrect_Fails: a correction that cannot be written is not written in part, and can be tried
// again.
func TestCorrect_Fails(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	o.BusyTimeout = 10 * time.Millisecond
	openInserter(t, o, 0)
	ob := openOutbox(t, o)
	a, b := Epoch{First: at(0), TrueOffset: 1, How: HowServer}, Epoch{First: at(1000), TrueOffset: 2, How: HowServer}
	addEpochs(t, rawDB(t, path), Epoch{First: a.First}, Epoch{First: b.First})
	release := storetest.Hold(t, path)
	if err := ob.Correct(t.Context(), a, b); !errors.Is(err, ErrBusy) {
		t.Errorf("while another process writes: %v", err)
	}
	release()
	if line, err := ob.Timeline(t.Context()); err != nil || line.Known() != a.First {
		t.Errorf("known up to %d, %v", line.Known(), err)
	}
	if err := ob.Correct(t.Context(), a, b, Epoch{First: b.First, TrueOffset: 3, How: "guessed"}); err != nil {
		t.Errorf("an epoch that is known is left alone: %v", err)
	}
	line, err := ob.Timeline(t.Context())
	if err != nil || line.Known() != math.MaxInt64 || !reflect.DeepEqual(line[1:], Timeline{a, b}) {
		t.Errorf("epochs %+v, %v", line, err)
	}
	addEpochs(t, rawDB(t, path), Epoch{First: at(2000)}, Epoch{First: at(3000)})
	if err := ob.Correct(t.Context(), Epoch{First: at(2000), TrueOffset: 1, How: HowServer}, Epoch{First: at(3000), How: "guessed"}); err == nil {
		t.Error("a source that does not exist was written")
	}
	if line, err := ob.Timeline(t.Context()); err != nil || line.Known() != at(2000) {
		t.Errorf("one epoch of two was written: %+v, %v", line, err)
	}
}

// TestTimeline_Queries asks for rows by true time: those of the third epoch were taken an hour
// before the others.
func TestTimeline_Queries(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	const hour = int64(3_600_000)
	// Ticks at 0, 1, 2 and 3 s.
	addEpochs(t, d.db,
		Epoch{First: at(0), How: HowClock},
		Epoch{First: at(2000), WallOffset: 5, TrueOffset: -hour, How: HowKernel},
		Epoch{First: at(3000), WallOffset: 5},
	)
	first := tick0.UnixMilli()
	if b, err := d.ob.Backlog(t.Context()); err != nil || b.OldestMS != first {
		t.Errorf("backlog %+v, %v", b, err)
	}
	chunk := recordPending(t, d.ob, 30)
	d.do(d.ob.MarkUploaded(t.Context(), chunk, nil, nil))
	count := func(fromMS, toMS int64, want int) {
		t.Helper()
		counts, err := d.ob.UploadedByDevice(t.Context(), fromMS, toMS)
		keys, keysErr := d.ob.UploadedKeys(t.Context(), fromMS, toMS)
		if err != nil || keysErr != nil || counts["device"] != int64(want) || len(keys) != want || !slices.IsSorted(keys) {
			t.Errorf("%d..%d: %v, %v; %d keys, %v; want %d", fromMS-first, toMS-first, counts, err, len(keys), keysErr, want)
		}
	}
	count(0, math.MaxInt64/2, 30)
	count(first, first+10_000, 20)
	count(first-hour, first-1, 10)
	count(first+2000-hour, first+2000-hour, 10)
	count(first+2000-hour, first+1000, 30)
	count(first+2000, first+2000, 0)
	if b, err := d.ob.Backlog(t.Context()); err != nil || b.OldestMS != first+3005 {
		t.Errorf("backlog %+v, %v: the wall clock is all there is", b, err)
	}
	from, _ := slices.BinarySearch(chunk.Keys, at(2000))
	keys := chunk.Keys[from:]
	for past, want := range map[int64]int{hour - 4000: 1, hour + 4000: 0} {
		mustExec(t, d.db, "UPDATE upload_checkpoints SET created_ms = ?, first_key = ?, row_keys = ?, sample_count = ?", first, int64(keys[0]), keys.encode(), len(keys))
		found, err := d.ob.ChunksBeyond(t.Context(), 0, past, 0, 10)
		if err != nil || len(found) != want {
			t.Errorf("chunks with rows older than %d ms: %d, %v", past, len(found), err)
		}
	}
}

// TestPrune_TrueTime: rows leave by their true time, also those behind rows that stay, and an epoch
// leaves with its rows.
func TestPrune_TrueTime(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	const year = int64(365 * 24 * 3_600_000)
	db := d.db
	addEpochs(t, db,
		Epoch{First: at(0), How: HowClock},
		Epoch{First: at(1000), WallOffset: 50 * year, TrueOffset: 50 * year, How: HowUnconfirmed},
		Epoch{First: at(2000), WallOffset: -50 * year, TrueOffset: 0, How: HowKernel},
		Epoch{First: at(3000), WallOffset: -50 * year},
	)
	chunk := recordPending(t, d.ob, 30)
	d.do(d.ob.MarkUploaded(t.Context(), chunk, nil, nil))
	d.do(d.ob.MarkVerified(t.Context(), chunk))
	prune := func(before time.Time) (n int) {
		t.Helper()
		for {
			more, err := d.ob.Prune(t.Context(), before, 7)
			if err != nil {
				t.Fatal(err)
			}
			if n += more; more == 0 {
				return n
			}
		}
	}
	left := func(want string) {
		t.Helper()
		got := fmt.Sprint(queryLines(t, db, "SELECT DISTINCT (dedup_key >> 22) - ? FROM metrics", tick0.UnixMilli()),
			queryLines(t, db, "SELECT (first_key >> 22) - ? FROM epochs WHERE first_key > 0", tick0.UnixMilli()),
			queryInt(t, db, "SELECT count(*) FROM upload_checkpoints"))
		if got != want {
			t.Errorf("rows, epochs and chunks left: %s, want %s", got, want)
		}
	}
	if n := prune(tick0); n != 0 {
		t.Errorf("%d rows pruned", n)
	}
	left("[0 1000 2000 3000] [0 1000 2000 3000] 1")
	if n := prune(tick0.Add(time.Hour)); n != 20 {
		t.Errorf("%d rows pruned, want 20: not those of 2073, and none that is pending", n)
	}
	// The epoch before an unknown one stays.
	left("[1000 3000] [1000 2000 3000] 1")
	if n := prune(tick0.Add(time.Duration(MaxTimestampMS) * time.Millisecond)); n != 10 {
		t.Errorf("%d rows pruned, want 10", n)
	}
	left("[3000] [2000 3000] 0")
	checkLedger(t, d.ob)
}

// TestDropEpochs_NothingSent: where nothing is ever sent no true time is known, and epochs leave
// with their rows all the same.
func TestDropEpochs_NothingSent(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	addEpochs(t, d.db,
		Epoch{First: at(0), Boot: "a"}, Epoch{First: at(1000), Boot: "a"}, Epoch{First: at(2000), Boot: "b"},
		Epoch{First: at(3000), Boot: "c"}, Epoch{First: at(9000), Boot: "d"},
	)
	f := func(below int64, want string) {
		t.Helper()
		mustExec(t, d.db, "DELETE FROM metrics WHERE dedup_key < ?", int64(at(below)))
		for range 2 { // the later epochs of a boot go first
			d.do(d.ob.w.tx(t.Context(), nothing, dropEpochs))
		}
		if got := fmt.Sprint(queryLines(t, d.db, "SELECT (first_key >> 22) - ? FROM epochs WHERE first_key > 0", tick0.UnixMilli())); got != want {
			t.Errorf("rows from %d on: epochs %s, want %s", below, got, want)
		}
	}
	f(0, "[0 1000 2000 3000 9000]")
	f(2000, "[2000 3000 9000]")
	f(3_600_000, "[9000]")
}

// TestDeadLetters_Place: a row that comes back has the key it had, and so the epoch; the letter
// shows its true time.
func TestDeadLetters_Place(t *testing.T) {
	t.Parallel()
	d := newDelivery(t)
	db := d.db
	addEpochs(t, db,
		Epoch{First: at(0), How: HowClock},
		Epoch{First: at(2000), WallOffset: -70_000, TrueOffset: -60_000, How: HowServer},
	)
	before := queryLines(t, db, "SELECT * FROM metric_rows")
	key := d.all[20]
	d.do(d.ob.MoveToDeadLetters(t.Context(), []Rejection{{key, "rejected", "no"}}))
	letters, err := d.ob.DeadLettersAt(t.Context(), tick0.UnixMilli()-58_000, tick0.UnixMilli()-58_000, 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("letters at the true time: %+v, %v", letters, err)
	}
	retried, err := retryDeadLetter(t.Context(), d.ob.w, letters[0].ID)
	if err != nil || !retried {
		t.Fatalf("retried: %v, %v", retried, err)
	}
	after := queryLines(t, db, "SELECT * FROM metric_rows")
	if lost := len(before) - len(after); lost != 0 || queryInt(t, db, "SELECT count(*) FROM metrics WHERE dedup_key = ?", int64(key)) != 1 {
		t.Errorf("the row is not in its place: %v", diff(fmt.Sprint(after), fmt.Sprint(before)))
	}

	// Letters of before version 7 know their time only.
	f := func(ms int64, want bool, place Key) {
		t.Helper()
		d.do(d.ob.MoveToDeadLetters(t.Context(), []Rejection{{key, "rejected", "no"}}))
		mustExec(t, db, "UPDATE dead_letters SET row_key = NULL, timestamp_ms = ?", ms)
		id := queryInt(t, db, "SELECT id FROM dead_letters")
		retried, err := retryDeadLetter(t.Context(), d.ob.w, id)
		if err != nil || retried != want {
			t.Fatalf("letter at %d ms: retried is %v, %v", ms-tick0.UnixMilli(), retried, err)
		}
		if !want {
			mustExec(t, db, "UPDATE dead_letters SET row_key = ?", int64(key))
			if retried, err = retryDeadLetter(t.Context(), d.ob.w, id); !retried || err != nil {
				t.Fatalf("retried: %v, %v", retried, err)
			}
			return
		}
		if n := queryInt(t, db, "SELECT count(*) FROM metrics WHERE dedup_key = ?", int64(place)); n != 1 {
			t.Errorf("letter at %d ms: not at %d", ms-tick0.UnixMilli(), place)
		}
		key = place
	}
	id := key.SeriesID()
	first := tick0.UnixMilli()
	f(first-5000, true, PackKey(first-5000, id))
	f(first-58_000, true, PackKey(first-58_000, id)) // two keys mean this time: the older epoch's
	f(first-50_000, true, PackKey(first-50_000, id))
	f(first+5000, true, PackKey(first+65_000, id))
	f(-1, false, 0)
	f(MaxTimestampMS, false, 0) // behind the last key of the last epoch
	checkLedger(t, d.ob)
}

// TestSalvage_Epochs: a salvaged file has the epochs that it had. If they cannot be read, keys are
// taken for times.
func TestSalvage_Epochs(t *testing.T) {
	t.Parallel()
	f := func(name string, damage func(l *life), want ...Epoch) {
		t.Helper()
		l := lived(t, 60)
		db := rawDB(t, l.path)
		addEpochs(t, db,
			Epoch{First: at(15_000), Boot: "a", WallOffset: -100, WallMinusBoot: 7, Synchronised: sql.NullBool{Valid: true}, TrueOffset: 60_000, How: HowEstimated},
			Epoch{First: at(16_000), Boot: "b", WallOffset: 1, WallMinusBoot: -7},
			Epoch{First: at(30_000), Boot: "b", Synchronised: sql.NullBool{Bool: true, Valid: true}},
			Epoch{First: at(45_000), Boot: "c", TrueOffset: 5, How: HowServer},
			Epoch{First: at(46_000), Boot: "c", WallOffset: -9},
		)
		db.Close()
		mergeWAL(t, l)
		damage(l)
		if err := RequestSalvage(l.path, ErrDamaged); err != nil {
			t.Fatal(err)
		}
		l.sent = nil // of an epoch that is not known nothing is sent; lived did
		if lost, _ := l.check(t, l.options()); lost != 0 {
			t.Errorf("%s: %d rows lost", name, lost)
		}
		ob := openOutbox(t, l.options())
		line, err := ob.Timeline(t.Context())
		if err != nil || !reflect.DeepEqual(line, Timeline(want)) {
			t.Errorf("%s: epochs %+v, %v, want %+v", name, line, err, want)
		}
		chunks, err := ob.OpenChunks(t.Context())
		if err != nil || len(chunks) == 0 {
			t.Fatalf("%s: %d chunks, %v", name, len(chunks), err)
		}
		for _, c := range chunks {
			if n := line.alike(c.Keys); n != len(c.Keys) && c.Bytes == 0 { // made by the salvage
				t.Errorf("%s: a chunk of %d rows, %d of one epoch", name, len(c.Keys), n)
			}
			if c.Bytes == 0 && c.State == Sending && c.Keys[len(c.Keys)-1] >= line.Known() {
				t.Errorf("%s: rows are asked for whose time is not known", name)
			}
		}
	}
	first := Epoch{How: HowUnconfirmed}
	all := []Epoch{
		first,
		{First: at(15_000), Boot: "a", WallOffset: -100, WallMinusBoot: 7, Synchronised: sql.NullBool{Valid: true}, TrueOffset: 60_000, How: HowEstimated},
		{First: at(16_000), Boot: "b", WallOffset: 1, WallMinusBoot: -7},
		{First: at(30_000), Boot: "b", Synchronised: sql.NullBool{Bool: true, Valid: true}},
		{First: at(45_000), Boot: "c", TrueOffset: 5, How: HowServer},
		{First: at(46_000), Boot: "c", WallOffset: -9},
	}
	f("whole", func(*life) {}, all...)
	f("no page of epochs", func(l *life) {
		db := rawDB(t, l.path)
		page := queryInt(t, db, "SELECT rootpage FROM sqlite_schema WHERE name = 'epochs'")
		db.Close()
		patch(t, l.path, (page-1)*newPageSize, noise(1, newPageSize))
	}, first)
	f("the first one lost", func(l *life) {
		db := rawDB(t, l.path)
		mustExec(t, db, "DELETE FROM epochs WHERE first_key = 0")
		db.Close()
		mergeWAL(t, l)
	}, all...)
}

// TestOutbox_SettledInTrueTime: what a boot with a wrong clock leaves must not look later than what
// comes after it.
func TestOutbox_SettledInTrueTime(t *testing.T) {
	t.Parallel()
	const ahead = 70 * 365 * 24 * time.Hour
	o := options(newPath(t))
	o.Now = func() time.Time { return time.Now().Add(ahead) }
	in, ob := openInserter(t, o, time.Hour), openOutbox(t, o)
	at := clock.Read()
	at.Wall = o.Now()
	if at.BootID == "" {
		t.Fatal("the kernel has no name for the boot")
	}
	if r, err := in.Record(t.Context(), at, at.Wall, samples(numberSeries(4), 1)); err != nil || r.Inserted != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	line, err := ob.Timeline(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := line[len(line)-1]
	e.TrueOffset, e.How = e.WallOffset-ahead.Milliseconds(), HowServer
	if err := ob.Correct(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	c := recordPending(t, ob, 4)
	if err := ob.MarkUploaded(t.Context(), c, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := ob.MarkVerified(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, verified, err := ob.LastDelivery(t.Context()); err != nil || time.Until(verified).Abs() > time.Hour {
		t.Errorf("verified at %v, %v: want about now", verified, err)
	}
}
