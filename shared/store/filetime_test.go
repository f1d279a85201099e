package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/store/storetest"
)

// device is a simulated machine, all of it in milliseconds.
type device struct {
	truth int64 // true time
	boots int
	boot  int64 // CLOCK_BOOTTIME
	wall  int64 // wall clock
	sync  clock.Sync
	known map[int]int64 // by boot: true time minus CLOCK_BOOTTIME, where the clock was synchronised
}

func (d *device) pass(ms int64) { d.truth, d.boot, d.wall = d.truth+ms, d.boot+ms, d.wall+ms }

func (d *device) id() string { return fmt.Sprint("boot ", d.boots) }

func (d *device) moment() clock.Moment {
	return clock.Moment{Wall: time.UnixMilli(d.wall), Boot: time.Duration(d.boot) * time.Millisecond, BootID: d.id(), Sync: d.sync}
}

// taken is a tick as it happened.
type taken struct {
	key         Key
	wall, truth int64
	boot        int
}

// TestRecord_AnyClock runs a machine without a clock battery through boots, steps, suspends,
// kills and whatever its clock says. Every sample is stored, keys only grow, the epochs say what
// the wall clock said, and with the time that was known at some moment of a boot each of its
// samples has its true time.
func TestRecord_AnyClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprint(run))
		in, err := OpenInserter(background, options(path), time.Hour)
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer func() { _ = in.close() }()
		reopen := func() { // what a new run knows, without the cost of opening the file
			if in.reached, err = readFileTime(background, in.pool); err != nil {
				t.Fatalf("%v", err)
			}
		}
		d := &device{truth: 1_790_000_000_000, known: map[int]int64{}}
		anyWall := rapid.OneOf(
			rapid.Int64Range(0, 4_102_444_800_000), // 1970 to 2100
			rapid.Map(rapid.Int64Range(-40*24*3_600_000, 40*24*3_600_000), func(ms int64) int64 { return d.truth + ms }),
			rapid.Map(rapid.Int64Range(-5000, 5000), func(ms int64) int64 { return d.truth + ms }),
		)
		series := numberSeries(3)
		var all []taken
		last := Key(-1)
		tick := func(t *rapid.T) {
			interval := rapid.SampledFrom([]int64{10, 1000, 10_000}).Draw(t, "interval")
			d.pass(interval - d.wall%interval)
			m, now := d.moment(), d.wall
			d.pass(rapid.Int64Range(0, interval/2-1).Draw(t, "took"))
			if r, err := in.Record(background, m, time.UnixMilli(now), samples(series, 1)); err != nil || r != (InsertResult{Inserted: 3}) {
				t.Fatalf("wall clock %d: %+v, %v", now, r, err)
			}
			k := queryKey(t, in, "SELECT min(dedup_key) FROM metrics WHERE dedup_key > ?", int64(last))
			if k>>seriesBits <= last>>seriesBits && last >= 0 {
				t.Fatalf("key %d after %d", k, last)
			}
			last = queryKey(t, in, "SELECT max(dedup_key) FROM metrics")
			if last.TimestampMS() != k.TimestampMS() || (k.TimestampMS()-now)%60_000 != 0 {
				t.Errorf("a tick at %d has the keys %d to %d", now, k.TimestampMS(), last.TimestampMS())
			}
			all = append(all, taken{k, now, d.truth - (d.wall - now), d.boots})
		}
		reboot := func(t *rapid.T) {
			d.boots++
			d.truth += rapid.Int64Range(5_000, 100_000_000).Draw(t, "off")
			d.boot = rapid.Int64Range(1_000, 60_000).Draw(t, "up")
			d.wall = anyWall.Draw(t, "wall")
			d.sync = rapid.SampledFrom([]clock.Sync{clock.Unknown, clock.No}).Draw(t, "sync")
			reopen()
		}
		t.Repeat(map[string]func(*rapid.T){
			"tick":  tick,
			"ticks": func(t *rapid.T) { tick(t); tick(t); tick(t) },
			"boot":  reboot,
			"kill":  func(*rapid.T) { reopen() },
			"step":  func(t *rapid.T) { d.wall = anyWall.Draw(t, "wall"); d.sync = min(d.sync, clock.No) },
			"nudge": func(t *rapid.T) { d.wall += rapid.Int64Range(-600, 600).Draw(t, "by"); d.sync = min(d.sync, clock.No) },
			"sleep": func(t *rapid.T) { d.pass(rapid.Int64Range(1, 1_000_000_000).Draw(t, "for")) },
			"ntp": func(t *rapid.T) {
				d.wall, d.sync = d.truth+rapid.Int64Range(-50, 50).Draw(t, "off by"), clock.Yes
				d.known[d.boots] = d.wall - d.boot
			},
		})
		line, err := in.Timeline(background)
		if err != nil {
			t.Fatalf("%v", err)
		}
		for i, e := range line { // what is known in a boot says the true time of all its epochs
			for boot, sure := range d.known {
				if e.Boot == fmt.Sprint("boot ", boot) {
					line[i].TrueOffset, line[i].How = e.WallOffset+sure-e.WallMinusBoot, HowKernel
				}
			}
		}
		for _, s := range all {
			e := line.Epoch(s.key)
			if got := s.key.TimestampMS() + e.WallOffset; got != s.wall || e.Boot != fmt.Sprint("boot ", s.boot) {
				t.Fatalf("epoch %+v: the wall clock said %d, not %d, in boot %d", e, s.wall, got, s.boot)
			}
			if _, known := d.known[s.boot]; known && max(line.MS(s.key)-s.truth, s.truth-line.MS(s.key)) > 1000 {
				t.Fatalf("epoch %+v: a sample of %d has the time %d", e, s.truth, line.MS(s.key))
			}
		}
	})
}

func queryKey(t tester, in *Inserter, query string, args ...any) (k Key) {
	t.Helper()
	if err := in.pool.QueryRow(query, args...).Scan(&k); err != nil {
		t.Fatalf("%v", err)
	}
	return k
}

// TestRecord_Epochs: what begins an epoch, and where.
func TestRecord_Epochs(t *testing.T) {
	t.Parallel()
	const day = int64(24 * 3_600_000)
	now := tick0.UnixMilli()
	yes := sql.NullBool{Bool: true, Valid: true}
	no := sql.NullBool{Valid: true}
	begun := func(ms, wall, boot int64, id string, s sql.NullBool) Epoch {
		return Epoch{First: PackKey(ms, 0), Boot: id, WallOffset: wall - ms, WallMinusBoot: wall - boot, Synchronised: s}
	}
	f := func(name string, had Epoch, own bool, newest int64, at clock.Moment, wantMS int64, want Epoch) {
		t.Helper()
		ms, e := fileTime{epoch: had, own: own, newest: newest}.next(at, at.Wall.UnixMilli())
		if ms != wantMS || e != want {
			t.Errorf("%s: file time %d, %+v\nwant %d, %+v", name, ms, e, wantMS, want)
		}
	}
	at := func(wall, boot int64, id string, s clock.Sync) clock.Moment {
		return clock.Moment{Wall: time.UnixMilli(wall), Boot: time.Duration(boot) * time.Millisecond, BootID: id, Sync: s}
	}
	empty := Epoch{How: HowUnconfirmed}
	f("new file", empty, false, -1, at(now, 9000, "a", clock.Unknown), now, begun(now, now, 9000, "a", sql.NullBool{}))
	f("new file, 1970", empty, false, -1, at(5000, 9000, "a", clock.No), firstFileMS+5000, begun(firstFileMS+5000, 5000, 9000, "a", no))
	f("new file, before 1970", empty, false, -1, at(-59_000, 9000, "a", clock.No), firstFileMS+1000, begun(firstFileMS+1000, -59_000, 9000, "a", no))
	f("new file, 2099", empty, false, -1, at(4_070_908_802_000, 9000, "a", clock.Yes), firstFileMS+2000, begun(firstFileMS+2000, 4_070_908_802_000, 9000, "a", yes))

	old := begun(now, now, 9000, "a", no)
	f("same boot", old, false, now+1000, at(now+2000, 11_000, "a", clock.No), now+2000, old)
	f("499 ms", old, false, now+1000, at(now+2000, 11_499, "a", clock.No), now+2000, old)
	f("500 ms", old, false, now+1000, at(now+2000, 11_500, "a", clock.No), now+2000, begun(now+2000, now+2000, 11_500, "a", no))
	f("-500 ms", old, false, now+1000, at(now+2000, 10_500, "a", clock.No), now+2000, begun(now+2000, now+2000, 10_500, "a", no))
	f("synchronised", old, false, now+1000, at(now+2000, 11_000, "a", clock.Yes), now+2000, func() Epoch { e := old; e.Synchronised = yes; return e }())
	f("no more synchronised", begun(now, now, 9000, "a", yes), false, now+1000, at(now+2000, 11_000, "a", clock.No), now+2000, begun(now, now, 9000, "a", yes))
	f("other boot", old, true, now+1000, at(now+2000, 11_000, "b", clock.Unknown), now+2000, begun(now+2000, now+2000, 11_000, "b", sql.NullBool{}))
	f("key taken", old, true, now+2000, at(now+2000, 11_000, "a", clock.No), now+62_000, begun(now+62_000, now+2000, 11_000, "a", no))
	f("a day without synchronisation", old, true, now+day-1000, at(now+day, 9000+day, "a", clock.No), now+day, begun(now+day, now+day, 9000+day, "a", no))
	f("a day with it", begun(now, now, 9000, "a", yes), true, now+day-1000, at(now+day, 9000+day, "a", clock.No), now+day, begun(now, now, 9000, "a", yes))

	f("an hour back", old, true, now+1000, at(now-3_600_000+2000, 11_000, "a", clock.No), now+2000, begun(now+2000, now-3_600_000+2000, 11_000, "a", no))
	f("an hour back, synchronised", old, true, now+1000, at(now-3_600_000+500, 11_000, "a", clock.Yes), now+60_500, begun(now+60_500, now-3_600_000+500, 11_000, "a", yes))
	f("30 days ahead", old, true, now, at(now+30*day, 11_000, "a", clock.No), now+30*day, begun(now+30*day, now+30*day, 11_000, "a", no))
	f("31 days ahead", old, true, now, at(now+31*day+3000, 11_000, "a", clock.No), now+3000, begun(now+3000, now+31*day+3000, 11_000, "a", no))
	f("31 days ahead, synchronised", old, true, now, at(now+31*day, 11_000, "a", clock.Yes), now+31*day, begun(now+31*day, now+31*day, 11_000, "a", yes))
	f("2038, synchronised", old, true, now, at(wallEndMS, 11_000, "a", clock.Yes), now+(wallEndMS-now)%60_000, begun(now+(wallEndMS-now)%60_000, wallEndMS, 11_000, "a", yes))

	behind := begun(now, now-5_400_000, 9000, "a", no)
	f("goes on behind", behind, false, now+1000, at(now-5_400_000+2000, 11_000, "a", clock.No), now+2000, behind)
	f("a day goes on behind", behind, false, now+1000, at(now-5_400_000+day, 9000+day, "a", clock.No), now+day, begun(now+day, now-5_400_000+day, 9000+day, "a", no))
	f("caught up, other boot", behind, false, now+1000, at(now+2000, 11_000, "b", clock.No), now+2000, begun(now+2000, now+2000, 11_000, "b", no))

	unnamed := begun(now, now, 9000, "", no)
	f("boot without a name", unnamed, true, now+1000, at(now+2000, 11_000, "", clock.No), now+2000, unnamed)
	f("another run of it", unnamed, false, now+1000, at(now+2000, 11_000, "", clock.No), now+2000, begun(now+2000, now+2000, 11_000, "", no))

	end := begun(MaxTimestampMS-3000, now, 9000, "a", no)
	f("the last key", end, true, MaxTimestampMS-1, at(now+3000, 12_000, "a", clock.No), MaxTimestampMS, end)
	f("the end", end, true, MaxTimestampMS, at(now+4000, 13_000, "a", clock.No), -1, end)
}

// TestRecord_Reopened: a run goes on where the last one was, whatever has become of the newest
// rows.
func TestRecord_Reopened(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(ob *Outbox, keys KeySet) error{
		"in the file": func(*Outbox, KeySet) error { return nil },
		"dead letters": func(ob *Outbox, keys KeySet) error {
			var rejected []Rejection
			for _, k := range keys {
				rejected = append(rejected, Rejection{k, "rejected", ""})
			}
			return ob.MoveToDeadLetters(background, rejected)
		},
		"pruned": func(ob *Outbox, keys KeySet) error {
			c := newChunk(keys, true)
			err := errors.Join(ob.RecordSending(background, c), ob.MarkVerified(background, c))
			_, pruneErr := ob.Prune(background, time.UnixMilli(MaxTimestampMS), 1000)
			return errors.Join(err, pruneErr)
		},
	} {
		path := newPath(t)
		in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
		series := numberSeries(10)
		record := func(id string, wall int64, boot time.Duration) Key {
			t.Helper()
			m := clock.Moment{Wall: time.UnixMilli(wall), Boot: boot, BootID: id}
			if r, err := in.Record(t.Context(), m, m.Wall, samples(series, 1)); err != nil || r.Inserted != 10 {
				t.Fatalf("%s: %+v, %v", name, r, err)
			}
			k, err := ob.LastKey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		first := record("a", tick0.UnixMilli(), time.Minute)
		if err := leave(ob, pendingKeys(t, ob, 1000, nil)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := in.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		in = openInserter(t, options(path), 0)
		if again := record("b", tick0.UnixMilli(), 2*time.Minute); again.TimestampMS() != first.TimestampMS()+60_000 {
			t.Errorf("%s: key %d after %d", name, again.TimestampMS(), first.TimestampMS())
		}
	}
}

// TestRecord_Fails: a tick that was not stored leaves no epoch, and one that was stored although it
// failed is not met again.
func TestRecord_Fails(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	o.BusyTimeout = 10 * time.Millisecond
	in := openInserter(t, o, 0)
	series := numberSeries(5)
	m := clock.Moment{Wall: tick0, Boot: time.Minute, BootID: "a"}
	release := storetest.Hold(t, path)
	if _, err := in.Record(t.Context(), m, tick0, samples(series, 1)); !errors.Is(err, ErrBusy) {
		t.Fatalf("while another process writes: %v", err)
	}
	release()
	line, err := in.Timeline(t.Context())
	if err != nil || len(line) != 1 {
		t.Errorf("epochs of a tick that was not stored: %+v, %v", line, err)
	}
	if r, err := in.Record(t.Context(), m, tick0, samples(series, 1)); err != nil || r.Inserted != 5 {
		t.Errorf("%+v, %v", r, err)
	}

	// As if the commit had failed behind its success: the handle knows nothing of the rows.
	before := in.reached
	m.Wall, m.Boot, m.BootID = tick0.Add(-time.Hour), time.Minute, "b"
	if r, err := in.Record(t.Context(), m, m.Wall, samples(series, 1)); err != nil || r.Inserted != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	after := in.reached
	in.reached, in.unsure = before, true
	m.Wall, m.Boot = m.Wall.Add(time.Second), m.Boot+time.Second
	if r, err := in.Record(t.Context(), m, m.Wall, samples(series, 1)); err != nil || r.Inserted != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if in.reached.epoch != after.epoch || in.reached.newest != after.newest+1000 {
		t.Errorf("it is at %+v, was at %+v", in.reached, after)
	}
	if line, err = in.Timeline(t.Context()); err != nil || len(line) != 3 || !reflect.DeepEqual(line[2], after.epoch) {
		t.Errorf("epochs %+v, %v", line, err)
	}
}

// TestRecord_Ended: behind the last key samples are refused, counted and told.
func TestRecord_Ended(t *testing.T) {
	t.Parallel()
	in := openInserter(t, options(newPath(t)), 0)
	series := numberSeries(5)
	mustInsert(t, in, time.UnixMilli(MaxTimestampMS), samples(series, 1))
	m := clock.Moment{Wall: tick0, Boot: time.Minute, BootID: "a"}
	r, err := in.Record(context.Background(), m, tick0, samples(series, 1))
	if want := (InsertResult{Invalid: 5, Ended: true}); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
}
