package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// point is a sample as Probe gives it.
type point struct {
	id, ms int64
	value  float64
}

func probe(t tester, r *Reader, ids []int64, from, to, every int64) (points []point) {
	t.Helper()
	err := r.Probe(context.Background(), ids, from, to, every, func(id, ms int64, value float64) {
		points = append(points, point{id, ms, value})
	})
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	return points
}

func TestReader_SeriesNamed(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	all := samples(numberSeries(6), 1) // metric.0 four times, metric.1 twice
	all = append(all,
		Sample{Series: NewSeries("other", "metric.0", Number), Value: 1},
		Sample{Series: NewSeries("device", "metric.0", Text), Text: "no number"},
		Sample{Series: NewSeries("device", "it's", Number, Tag{"x", `"><script>`}), Value: 1})
	mustInsert(t, in, tick0, all)
	r := openReader(t, path)
	f := func(limit, wantMore int, want []string, names ...string) {
		t.Helper()
		series, more, err := r.SeriesNamed(t.Context(), "device", names, limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range series {
			got = append(got, s.Name+s.Tags)
		}
		if !slices.Equal(got, want) || more != wantMore {
			t.Errorf("%q: got %q and %d more, want %q and %d", names, got, more, want, wantMore)
		}
	}
	f(9, 0, []string{`metric.1{"part":"0"}`, `metric.1{"part":"1"}`}, "metric.1")
	f(2, 4, []string{`metric.0{"part":"0"}`, `metric.0{"part":"1"}`}, "metric.1", "metric.0", "metric.0")
	f(9, 0, []string{`it's{"x":"\"><script>"}`}, "it's")
	f(9, 0, nil, "metric.")
	f(9, 0, nil, "')--")
	f(9, 0, nil)
	series, err := r.SeriesByID(t.Context(), "device", []int64{2, 1, 7, 8, 99}) // 7 is another device's, 8 a text
	if err != nil || len(series) != 2 || series[0].ID != 1 || series[1].ID != 2 || series[0].Name == "" {
		t.Errorf("by id: got %v, %v, want the series 1 and 2", series, err)
	}
}

func TestReader_Probe(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	base := tick0.UnixMilli() / 180_000 * 180_000
	at := func(s int64) time.Time { return time.UnixMilli(base + s*1000) }
	fast, slow := NewSeries("d", "fast", Number), NewSeries("d", "slow", Number)
	for s := int64(0); s < 180; s += 10 {
		if s == 60 || s == 120 {
			mustInsert(t, in, at(s), []Sample{{Series: fast, Value: float64(s)}, {Series: slow, Value: float64(-s)}})
		} else if s != 90 { // a missed tick
			mustInsert(t, in, at(s), []Sample{{Series: fast, Value: float64(s)}})
		}
	}
	r := openReader(t, path)
	series, _, err := r.SeriesNamed(t.Context(), "d", []string{"fast", "slow"}, 9)
	if err != nil || len(series) != 2 {
		t.Fatalf("got %v, %v, want two series", series, err)
	}
	ids := map[string]int64{series[0].Name: series[0].ID, series[1].Name: series[1].ID}
	f := func(name string, from, to, every int64, want ...float64) {
		t.Helper()
		var got []float64
		for _, p := range probe(t, r, []int64{ids[name]}, base+from*1000, base+to*1000, every*1000) {
			if p.ms != base+int64(max(p.value, -p.value))*1000 || p.id != ids[name] {
				t.Errorf("%s: got %+v", name, p)
			}
			got = append(got, p.value)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s from %d to %d every %d s: got %v, want %v", name, from, to, every, got, want)
		}
	}
	f("fast", 0, 50, 1, 0, 10, 20, 30, 40)
	f("fast", 0, 50, 20, 0, 20, 40)
	f("fast", 5, 50, 20, 10, 20, 40) // a span that begins late
	f("fast", 80, 111, 10, 80, 100, 110)
	f("fast", 0, 180, 90, 0, 100) // the first tick of the span where the one at its start is missing
	f("slow", 0, 180, 60, -60, -120)
	f("slow", 0, 180, 30, -60, -120)
	f("fast", 0, 0, 1)
	f("fast", 500, 600, 1)
	f("fast", -500, 0, 1)
	if got := probe(t, r, nil, base, base+1, 1); got != nil {
		t.Errorf("no series: got %v", got)
	}
}

func TestReader_ProbeRefuses(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	openInserter(t, options(path), time.Hour)
	r := openReader(t, path)
	for _, q := range [][3]int64{{-1, 1, 1}, {0, MaxTimestampMS + 1, 1}, {0, 1, 0}, {0, 1, -5}} {
		if err := r.Probe(t.Context(), []int64{1}, q[0], q[1], q[2], nil); err == nil {
			t.Errorf("%v: got no error", q)
		}
	}
	if err := r.Probe(t.Context(), []int64{1}, 0, MaxTimestampMS, 1, nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Probe(ctx, []int64{1}, 0, 1, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestReader_ProbeProperty compares with the definition, on ticks at random times.
func TestReader_ProbeProperty(t *testing.T) {
	t.Parallel()
	empty := newPath(t)
	if err := Migrate(t.Context(), options(empty)); err != nil {
		t.Fatal(err)
	}
	template := readFile(t, empty)
	rapid.Check(t, func(rt *rapid.T) {
		path := newPath(t)
		if err := os.WriteFile(path, []byte(template), 0o640); err != nil {
			rt.Fatal(err)
		}
		in, err := OpenInserter(context.Background(), options(path), time.Hour)
		if err != nil {
			rt.Fatal(err)
		}
		defer in.close() //nolint:errcheck // the test's own file
		all := numberSeries(3)
		ticks := rapid.SliceOfNDistinct(rapid.Int64Range(0, 400), 0, 25, rapid.ID[int64]).Draw(rt, "ticks")
		slices.Sort(ticks)
		held := map[int64][]int{} // series by tick
		for _, ms := range ticks {
			held[ms] = rapid.SliceOfNDistinct(rapid.IntRange(0, 2), 1, 3, rapid.ID[int]).Draw(rt, "series")
			slices.Sort(held[ms])
			var batch []Sample
			for _, i := range held[ms] {
				batch = append(batch, Sample{Series: all[i], Value: float64(ms)})
			}
			if _, err := in.Insert(context.Background(), time.UnixMilli(ms), batch); err != nil {
				rt.Fatal(err)
			}
		}
		r, err := OpenReader(context.Background(), path)
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close() //nolint:errcheck // the test's own file
		series, _, err := r.SeriesNamed(context.Background(), "device", []string{"metric.0"}, 9)
		if err != nil {
			rt.Fatal(err)
		}
		var ids []int64
		place := map[string]int64{} // row id by tags
		for _, s := range series {
			ids = append(ids, s.ID)
			place[s.Tags] = s.ID
		}
		from, to := rapid.Int64Range(0, 200).Draw(rt, "from"), rapid.Int64Range(0, 450).Draw(rt, "to")
		every := rapid.Int64Range(1, 60).Draw(rt, "every")
		var want []point
		span := int64(-1)
		for _, ms := range ticks {
			if ms < from || ms >= to || ms/every == span {
				continue
			}
			span = ms / every
			for _, i := range held[ms] {
				want = append(want, point{place[fmt.Sprintf(`{"part":"%d"}`, i)], ms, float64(ms)})
			}
		}
		got := probe(rt, r, ids, from, to, every)
		inOrder := func(a, b point) int { return int(a.ms-b.ms)*8 + int(a.id-b.id) }
		if !slices.IsSortedFunc(got, func(a, b point) int { return int(a.ms - b.ms) }) {
			rt.Errorf("not in the order of time: %v", got)
		}
		slices.SortFunc(got, inOrder)
		slices.SortFunc(want, inOrder)
		if !slices.Equal(got, want) {
			rt.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestReader_ProbePlan(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	for tick := range 50 {
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(40), 1))
	}
	db := rawDB(t, path)
	check := func() {
		t.Helper()
		var seeks int
		for _, l := range queryLines(t, db, "EXPLAIN QUERY PLAN "+queryProbe, "[1]", 0, 1, 1) {
			switch {
			case strings.Contains(l, "SCAN metrics"), strings.Contains(l, "SCAN m"):
				t.Errorf("it reads the whole table: %s", l)
			case strings.Contains(l, "INTEGER PRIMARY KEY"):
				seeks++
			}
		}
		if seeks != 3 {
			t.Errorf("got %d searches by key, want 3: the first tick, the next tick, the sample", seeks)
		}
	}
	check()
	mustExec(t, db, "ANALYZE")
	check()
}

func TestReader_RowCount(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), time.Hour)
	r := openReader(t, path)
	if n, err := r.RowCount(t.Context()); n != 0 || err != nil {
		t.Errorf("got %d, %v, want 0", n, err)
	}
	mustInsert(t, in, tick0, samples(numberSeries(7), 1))
	if n, err := r.RowCount(t.Context()); n != 7 || err != nil {
		t.Errorf("got %d, %v, want 7", n, err)
	}
}
