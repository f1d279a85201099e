package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"belabox-metrics/docker/receiver/internal/line"
)

func TestWrite_ReadBack(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	// More than one statement's worth, and a rest.
	write(t, s, series("a", "d", 1, 2*rowsPerInsert+7), series("b", "d", 5, 1), series("a", "e", 0, 3))
	got := readAll(t, s, query(t, everything))
	if len(got) != 3 || got.samples() != 2*rowsPerInsert+7+1+3 {
		t.Fatalf("got %d series with %d samples", len(got), got.samples())
	}
	if v := got[`{"__name__":"a","device_id":"d"}`][t0+5000]; v != 6 {
		t.Errorf("got %v, want 6", v)
	}
}

func TestSelect_Selectors(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	write(t, s, series("a", "d", 1, 2), series("b", "d", 1, 2), series("a", "e", 1, 2), series("c", "", 1, 2))
	f := func(want string, selectors ...string) {
		t.Helper()
		var got []string
		for metric := range readAll(t, s, query(t, selectors...)) {
			labels, err := line.ParseLabels([]byte(metric))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, labels.Get("__name__")+labels.Get("device_id"))
		}
		slices.Sort(got)
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: got %q, want %q", selectors, got, want)
		}
	}
	f("ad ae bd c", everything)
	f("ad ae", `a`)
	f("ad bd", `{device_id="d"}`)
	f("ad", `a{device_id="d"}`)
	f("ae c", `{device_id!="d"}`)
	f("c", `{device_id=""}`)
	f("", `{device_id="nobody"}`)
	f("", `nothing`)
	// A union gives each series once.
	f("ad ae bd", `a`, `{device_id="d"}`)
	f("ad ae bd c", everything, `a`, everything)
	f("bd c", `b`, `c`, `nothing`)
}

func TestSelect_RangeAndPieces(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	write(t, s, series("a", "d", 0, 10))
	f := func(from, to int64, rows, want int) {
		t.Helper()
		q := query(t, "a")
		q.From, q.To, q.MaxRows = from, to, rows
		if got := readAll(t, s, q).samples(); got != want {
			t.Errorf("[%d, %d] in pieces of %d: got %d samples, want %d", from, to, rows, got, want)
		}
	}
	for _, rows := range []int{1, 3, 5, 10, 11} {
		f(0, line.MaxTimestamp, rows, 10)
		f(t0, t0+9000, rows, 10)
		f(t0+1, t0+8999, rows, 8)
		f(t0+3000, t0+3000, rows, 1)
		f(t0+9001, line.MaxTimestamp, rows, 0)
		f(t0+5000, t0+4000, rows, 0)
		f(-1<<63, 1<<63-1, rows, 10)
	}
}

// More series than a page of them, and all are found.
func TestSelect_ManySeries(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	var lines []line.Line
	for i := range 2*seriesPerPage + 3 {
		lines = append(lines, series("m"+strconv.Itoa(i), "d", float64(i), 1))
	}
	write(t, s, lines...)
	if got := len(readAll(t, s, query(t, `{device_id="d"}`))); got != len(lines) {
		t.Errorf("got %d series, want %d", got, len(lines))
	}
}

func TestSelect_YieldError(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	write(t, s, series("a", "d", 0, 10), series("b", "d", 0, 10))
	enough, calls := errors.New("enough"), 0
	err := s.Select(context.Background(), query(t, everything), func(*Piece) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("got %v after %d calls, want %v after one", err, calls, enough)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Select(ctx, query(t, everything), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A reader that stops in the middle of a Select must not keep the write-ahead log from being emptied.
func TestSelect_SlowReaderHoldsNothing(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := newStore(t, path)
	write(t, s, series("a", "d", 0, 10))
	q := query(t, everything)
	q.MaxRows = 3
	err := s.Select(context.Background(), q, func(*Piece) error {
		var busy, frames, copied int
		write(t, s, series("b", "d", 0, 100))
		err := s.db.Stats().OpenConnections
		if err != 1 {
			t.Errorf("got %d connections that write, want 1", err)
		}
		return s.do(context.Background(), 1, func(w *writer) error {
			// Out of the transaction for the checkpoint, and back.
			if err := w.exec("COMMIT"); err != nil {
				return err
			}
			if err := w.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").
				Scan(&busy, &frames, &copied); err != nil || busy != 0 {
				t.Errorf("checkpoint: busy %d, %v", busy, err)
			}
			return w.exec("BEGIN IMMEDIATE")
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrite_SameAgain(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := newStore(t, path)
	write(t, s, series("a", "d", 1, 500))
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	write(t, s, series("a", "d", 1, 500))
	if got := readAll(t, s, query(t, everything)).samples(); got != 500 {
		t.Errorf("got %d samples, want 500", got)
	}
	if after := size(); after != before {
		t.Errorf("the same samples again wrote %d bytes", after-before)
	}
}

func TestWrite_LastWins(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	write(t, s, series("a", "d", 1, 3))
	write(t, s, series("a", "d", 10, 2))
	twice := series("a", "d", 0, 1)
	twice.Timestamps, twice.Values = []int64{t0 + 9000, t0 + 9000}, []float64{1, 2}
	write(t, s, twice)
	got := readAll(t, s, query(t, everything))[series("a", "d", 0, 0).Metric]
	want := map[int64]float64{t0: 10, t0 + 1000: 11, t0 + 2000: 3, t0 + 9000: 2}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWrite_Nothing(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	write(t, s)
	write(t, s, series("a", "d", 0, 0))
	if got := len(readAll(t, s, query(t, everything))); got != 0 {
		t.Errorf("got %d series, want none", got)
	}
}

// Many writers at once, some with the same new series: all is there, and a write that has returned is visible.
func TestWrite_Concurrent(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	const writers, writes = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range writes {
				own := series("own", strconv.Itoa(w), 0, n+1)
				shared := series("shared"+strconv.Itoa(n), "d", 0, 3)
				if err := s.Write(context.Background(), []line.Line{own, shared}); err != nil {
					t.Error(err)
					return
				}
				q := query(t, fmt.Sprintf(`own{device_id="%d"}`, w))
				if got := readAll(t, s, q).samples(); got != n+1 {
					t.Errorf("writer %d: got %d samples, want %d", w, got, n+1)
				}
			}
		})
	}
	wg.Wait()
	got := readAll(t, s, query(t, everything))
	if len(got) != writers+writes || got.samples() != writers*writes+writes*3 {
		t.Errorf("got %d series with %d samples", len(got), got.samples())
	}
}

// Random writes and prunes against a map, with the store closed and opened again in between.
func TestStore_Property(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprintf("%d.db", run))
		s, err := Open(path)
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer func() { s.Close() }()
		want := make(contents)
		lines := rapid.Custom(func(t *rapid.T) line.Line {
			l := series(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"),
				rapid.SampledFrom([]string{"", "d"}).Draw(t, "device"), 0, 0)
			l.Timestamps = rapid.SliceOfN(rapid.Int64Range(t0, t0+200), 1, 70).Draw(t, "timestamps")
			for range l.Timestamps {
				l.Values = append(l.Values, rapid.OneOf(rapid.Float64(), rapid.Just(0.0), rapid.Just(1e300)).Draw(t, "value"))
			}
			return l
		})
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"write", "write", "write", "prune", "reopen"}).Draw(t, "step") {
			case "write":
				batch := rapid.SliceOfN(lines, 1, 3).Draw(t, "batch")
				if err := s.Write(context.Background(), batch); err != nil {
					t.Fatalf("%v", err)
				}
				want.add(batch)
			case "prune":
				before := rapid.Int64Range(t0-5, t0+210).Draw(t, "before")
				removed := want.prune(before)
				if got, err := s.Prune(context.Background(), before); err != nil || got != removed {
					t.Fatalf("prune: got %d, %v, want %d", got, err, removed)
				}
				var left int
				if err := s.read.QueryRow("SELECT count(*) FROM series").Scan(&left); err != nil || left != len(want) {
					t.Fatalf("after prune: %d series, %v, want %d", left, err, len(want))
				}
			case "reopen":
				if err := s.Close(); err != nil {
					t.Fatalf("%v", err)
				}
				if s, err = Open(path); err != nil {
					t.Fatalf("%v", err)
				}
			}
			q := query(t, everything)
			q.MaxRows = rapid.IntRange(5, 50).Draw(t, "rows")
			if got := readAll(t, s, q); !maps.EqualFunc(got, want, maps.Equal) {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	for _, samples := range []int{1, 25, 200} {
		b.Run(fmt.Sprintf("50series_%dsamples", samples), func(b *testing.B) {
			s := newStore(b, newPath(b))
			var lines []line.Line
			for i := range 50 {
				lines = append(lines, series("m"+strconv.Itoa(i), "d", 0.5, samples))
			}
			b.ReportAllocs()
			for b.Loop() {
				for i := range lines {
					for k := range lines[i].Timestamps {
						lines[i].Timestamps[k] += int64(samples) * 1000
					}
				}
				write(b, s, lines...)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*50*samples), "µs/sample")
		})
	}
}

func BenchmarkSelect(b *testing.B) {
	s := newStore(b, newPath(b))
	for d := range 20 {
		var lines []line.Line
		for i := range 50 {
			lines = append(lines, series("m"+strconv.Itoa(i), strconv.Itoa(d), 0.5, 200))
		}
		write(b, s, lines...)
	}
	q := query(b, `{device_id="7"}`)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := s.Select(context.Background(), q, func(p *Piece) error { n += len(p.Values); return nil }); err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*10_000), "µs/sample")
}
