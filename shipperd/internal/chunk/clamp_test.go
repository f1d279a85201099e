package chunk

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
)

func TestEdges(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	f := func(past, future time.Duration, ts time.Time, want string) {
		t.Helper()
		e := edgesAt(Config{MaxPast: past, MaxFuture: future}, noon.Add(17*time.Minute+250*time.Millisecond))
		ms := ts.UnixMilli()
		switch {
		case ms < e.oldest:
			ms = e.past.place(ms)
		case ms > e.newest:
			ms = e.future.place(ms)
		}
		if got := time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000"); got != want {
			t.Errorf("%v with -%v and +%v goes to %s, want %s", ts, past, future, got, want)
		}
	}
	// The outermost whole hour inside: 30 days back it begins at 13:00, 47 hours
	// ahead it ends at 11:00. 2035 begins with hour 569784 since 1970, and
	// 2026-11-22 11:00 is hour 498707: 8 minutes, 18.707 seconds.
	f(30*day, 47*time.Hour, noon, "2026-11-20 12:00:00.000")
	f(30*day, 47*time.Hour, time.UnixMilli(0), "2026-10-21 13:00:00.000")
	f(30*day, 47*time.Hour, time.UnixMilli(10_000), "2026-10-21 13:00:10.000")
	f(30*day, 47*time.Hour, time.UnixMilli(3_600_000), "2026-10-21 13:00:00.001")
	f(30*day, 47*time.Hour, time.UnixMilli(7_210_000), "2026-10-21 13:00:10.002")
	f(30*day, 47*time.Hour, time.Date(2035, 1, 1, 0, 30, 0, 0, time.UTC), "2026-11-22 10:39:29.784")
	f(30*day, 47*time.Hour, time.Date(2026, 11, 22, 11, 17, 0, 250e6, time.UTC), "2026-11-22 11:17:00.250")
	f(30*day, 47*time.Hour, time.Date(2026, 11, 22, 11, 17, 0, 251e6, time.UTC), "2026-11-22 10:25:18.958")
	// Narrow limits take a minute or a second.
	f(5*time.Minute, 5*time.Minute, time.UnixMilli(61_000), "2026-11-20 12:13:01.001")
	f(time.Minute, time.Minute, time.UnixMilli(61_007), "2026-11-20 12:16:01.068")
	f(time.Minute, time.Minute, noon.Add(time.Hour), "2026-11-20 12:17:59.600")
	// No limits.
	f(0, 0, time.UnixMilli(0), "1970-01-01 00:00:00.000")
	f(0, 0, time.UnixMilli(store.MaxTimestampMS), "2039-09-07 15:47:35.551")
	f(-time.Hour, -time.Hour, time.UnixMilli(0), "1970-01-01 00:00:00.000")
	// A limit that reaches beyond 1970.
	f(876000*time.Hour, time.Hour, time.UnixMilli(0), "1970-01-01 00:00:00.000")
}

// TestClamp_RegularSamplesNeverMeet: days of samples from a wrong clock, made
// into many bodies at several times of one hour, keep one timestamp each.
func TestClamp_RegularSamplesNeverMeet(t *testing.T) {
	t.Parallel()
	f := func(start time.Duration, step time.Duration, n int) {
		t.Helper()
		c := catalogue{}
		c.put(1, "a")
		var rows []store.Row
		for i := range n {
			rows = append(rows, row(start+time.Duration(i)*step, 1, float64(i)))
		}
		b := newBuilder(limits)
		b.perRow = 40 // makes many bodies
		seen := map[int64]bool{}
		half := len(rows) / 2
		for i, part := range [][]store.Row{rows[:half], rows[half:]} {
			bodies, _, _, err := b.BuildCatchUp(part, c.get, noon.Add(time.Duration(i)*13*time.Minute), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range bodies {
				if body.Clamped != len(body.Keys) {
					t.Fatalf("%d of %d clamped", body.Clamped, len(body.Keys))
				}
				for l := range body.Lines() {
					for _, s := range body.Line(l + 1) {
						if seen[s.TimestampMS] {
							t.Fatalf("start %v, step %v: two samples at %d", start, step, s.TimestampMS)
						}
						seen[s.TimestampMS] = true
					}
				}
			}
		}
	}
	for _, start := range []time.Duration{-40 * 365 * 24 * time.Hour, 8 * 365 * 24 * time.Hour} {
		f(start, 10*time.Second, 20_000) // two days
		f(start, time.Second, 40_000)    // 11 hours
		f(start, 100*time.Millisecond, 80_000)
		f(start+123*time.Millisecond, time.Minute, 5_000)
	}
}

// TestClamp_PartKeepsTimestamps: what a part of a body is rebuilt for is to be
// sent or looked for where the whole put it.
func TestClamp_PartKeepsTimestamps(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "a")
	c.put(2, "b")
	var rows []store.Row
	for i := range 300 {
		for id := int64(1); id <= 2; id++ {
			rows = append(rows, row(9*365*24*time.Hour+time.Duration(i)*time.Minute, id, 1))
		}
	}
	b := newBuilder(limits)
	whole, err := b.Rebuild(rows, c.get, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := map[store.Key]int64{}
	for n := range whole.Lines() {
		for _, s := range whole.Line(n + 1) {
			at[s.Key] = s.TimestampMS
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		var part []store.Row
		for _, r := range rows {
			if rnd.IntN(3) == 0 {
				part = append(part, r)
			}
		}
		body, err := b.Rebuild(part, c.get, noon, 0)
		if err != nil {
			t.Fatal(err)
		}
		for n := range body.Lines() {
			for _, s := range body.Line(n + 1) {
				if at[s.Key] != s.TimestampMS {
					t.Fatalf("row %d was at %d, in a part of the body at %d", s.Key, at[s.Key], s.TimestampMS)
				}
			}
		}
	}
}

// TestClamp_TakenPlaces: two samples that fall on one place, and a real sample
// that stands there.
func TestClamp_TakenPlaces(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "a")
	f := func(rows []store.Row, want string) {
		t.Helper()
		sortRows(rows)
		body, err := newBuilder(limits).Rebuild(rows, c.get, noon, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, s := range body.Line(1) {
			fmt.Fprintf(&got, "%s=%d ", time.UnixMilli(s.TimestampMS).UTC().Format("02T15:04:05.000"), s.Key.TimestampMS()%100_000)
		}
		if got.String() != want {
			t.Errorf("got %s, want %s", got.String(), want)
		}
	}
	at := func(ms int64) store.Row { return store.Row{Key: store.PackKey(ms, 1), Value: 1} }
	past := noon.Add(-720 * time.Hour).UnixMilli() // 21T12:00
	f([]store.Row{at(0), at(3_599_999)}, "21T12:00:00.000=0 21T12:59:59.999=99999 ")
	f([]store.Row{at(1), at(3_600_000)}, "21T12:00:00.001=1 21T12:00:00.002=0 ")
	f([]store.Row{at(0), at(past), at(past + 1)}, "21T12:00:00.000=0 21T12:00:00.001=1 21T12:00:00.002=0 ")
	future := noon.Add(47 * time.Hour).UnixMilli() // 22T11:00
	f([]store.Row{at(future), at(future + 1), at(future + 1 + 3_599_999)}, "22T10:08:18.707=0 22T10:08:18.708=1 22T11:00:00.000=0 ")
}

// TestClamp_Crowd: more samples than places cost no more than others.
func TestClamp_Crowd(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "a")
	var rows []store.Row
	for i := range 100_000 {
		rows = append(rows, row(-10*365*24*time.Hour+time.Duration(i)*time.Second, 1, 1))
	}
	body, err := newBuilder(Config{MaxPast: time.Minute, MaxFuture: time.Minute}).Rebuild(rows, c.get, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	if from, to := body.Range(); body.Clamped != len(rows) || to-from != int64(len(rows)-1) || from != noon.Add(-time.Minute).UnixMilli() {
		t.Errorf("%d clamped to %d ms from %v", body.Clamped, to-from, time.UnixMilli(from).UTC())
	}
}
