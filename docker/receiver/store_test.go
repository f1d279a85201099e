package main

import (
	"context"
	"database/sql"
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

	"belabox-metrics/shared/jsonline"
	"belabox-metrics/shared/selector"
)

const (
	t0         = int64(1700000000000)
	everything = `{__name__!=""}`
)

// newStore opens a store that is closed when the test ends.
func newStore(t testing.TB, path string) *store {
	t.Helper()
	s, err := openStore(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// series makes a line with samples (t0, first), (t0+1000, first+1), ...
func series(name, device string, first float64, count int) jsonline.Line {
	l := jsonline.Line{Metric: map[string]string{"__name__": name, "device_id": device}}
	for i := range count {
		l.Timestamps = append(l.Timestamps, t0+int64(i)*1000)
		l.Values = append(l.Values, first+float64(i))
	}
	return l
}

func insert(t testing.TB, s *store, lines ...jsonline.Line) {
	t.Helper()
	if err := s.insert(t.Context(), lines); err != nil {
		t.Fatal(err)
	}
}

// contents is what a select gives, by metric and timestamp.
type contents map[string]map[int64]float64

func (c contents) samples() int {
	n := 0
	for _, m := range c {
		n += len(m)
	}
	return n
}

func (c contents) add(lines []jsonline.Line) {
	for _, l := range lines {
		metric := jsonline.Canonical(l.Metric)
		if c[metric] == nil {
			c[metric] = map[int64]float64{}
		}
		for i, ts := range l.Timestamps {
			c[metric][ts] = l.Values[i]
		}
	}
}

func (c contents) prune(before int64) (removed int64) {
	for metric, samples := range c {
		n := len(samples)
		maps.DeleteFunc(samples, func(ts int64, _ float64) bool { return ts < before })
		removed += int64(n - len(samples))
		if len(samples) == 0 {
			delete(c, metric)
		}
	}
	return removed
}

// fataler is what testing.TB and rapid.T have in common.
type fataler interface {
	Fatalf(format string, args ...any)
}

func queryFor(t fataler, selectors ...string) query {
	q := query{to: maxTimestamp, maxRows: 1000}
	for _, text := range selectors {
		sel, err := selector.Parse(text)
		if err != nil {
			t.Fatalf("%v", err)
		}
		q.selectors = append(q.selectors, sel)
	}
	return q
}

// readAll reads what q asks for and checks that it comes sorted, once, and in pieces of the right
// size.
func readAll(t fataler, s *store, q query) contents {
	got := contents{}
	last := ""
	err := s.selectPieces(context.Background(), q, func(p *piece) error {
		if len(p.timestamps) == 0 || len(p.timestamps) > q.maxRows || len(p.values) != len(p.timestamps) {
			t.Fatalf("a piece of %d timestamps and %d values", len(p.timestamps), len(p.values))
		}
		if got[p.metric] == nil {
			got[p.metric] = map[int64]float64{}
		} else if p.metric != last {
			t.Fatalf("%s comes twice", p.metric)
		}
		last = p.metric
		for i, ts := range p.timestamps {
			if _, twice := got[p.metric][ts]; twice || i > 0 && ts <= p.timestamps[i-1] {
				t.Fatalf("%s: %d comes twice or late", p.metric, ts)
			}
			got[p.metric][ts] = p.values[i]
		}
		return nil
	})
	if err != nil {
		t.Fatalf("select: %v", err)
	}
	return got
}

func TestSelect_Selectors(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	insert(t, s, series("a", "d", 1, 2), series("b", "d", 1, 2), series("a", "e", 1, 2), series("c", "", 1, 2))
	f := func(want string, selectors ...string) {
		t.Helper()
		var got []string
		for metric := range readAll(t, s, queryFor(t, selectors...)) {
			name := strings.Split(metric, `"`)
			got = append(got, name[3]+name[7])
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
	f("ad ae bd", `{__name__="b" or __name__="a"}`)
	f("", `{device_id="nobody"}`)
	// A union gives each series once.
	f("ad ae bd", `a`, `{device_id="d"}`)
	f("ad ae bd c", everything, `a`, everything)
	f("bd c", `b`, `c`, `nothing`)
}

func TestSelect_RangeAndPieces(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	insert(t, s, series("a", "d", 0, 10))
	f := func(from, to int64, rows, want int) {
		t.Helper()
		q := queryFor(t, "a")
		q.from, q.to, q.maxRows = from, to, rows
		if got := readAll(t, s, q).samples(); got != want {
			t.Errorf("[%d, %d] in pieces of %d: got %d samples, want %d", from, to, rows, got, want)
		}
	}
	for _, rows := range []int{1, 3, 5, 10, 11} {
		f(0, maxTimestamp, rows, 10)
		f(t0, t0+9000, rows, 10)
		f(t0+1, t0+8999, rows, 8)
		f(t0+3000, t0+3000, rows, 1)
		f(t0+9001, maxTimestamp, rows, 0)
		f(t0+5000, t0+4000, rows, 0)
		f(-1<<63, 1<<63-1, rows, 10)
	}
}

// More series than a page of them, and all are found.
func TestSelect_ManySeries(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	var lines []jsonline.Line
	for i := range 2*seriesPerPage + 3 {
		lines = append(lines, series("m"+strconv.Itoa(i), "d", float64(i), 1))
	}
	insert(t, s, lines...)
	if got := len(readAll(t, s, queryFor(t, `{device_id="d"}`))); got != len(lines) {
		t.Errorf("got %d series, want %d", got, len(lines))
	}
}

func TestSelect_YieldError(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	insert(t, s, series("a", "d", 0, 10), series("b", "d", 0, 10))
	enough, calls := errors.New("enough"), 0
	err := s.selectPieces(t.Context(), queryFor(t, everything), func(*piece) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("got %v after %d calls, want %v after one", err, calls, enough)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.selectPieces(ctx, queryFor(t, everything), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A reader that stops in the middle of a select must not keep the write-ahead log from being
// emptied.
func TestSelect_SlowReaderHoldsNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	insert(t, s, series("a", "d", 0, 10))
	q := queryFor(t, everything)
	q.maxRows = 3
	err := s.selectPieces(t.Context(), q, func(*piece) error {
		insert(t, s, series("b", "d", 0, 100))
		var busy, frames, copied int
		err := s.write.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &copied)
		if busy != 0 {
			t.Errorf("checkpoint: busy %d", busy)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The same samples again write nothing.
func TestInsert_SameAgain(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	s := newStore(t, path)
	insert(t, s, series("a", "d", 1, 500))
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	insert(t, s, series("a", "d", 1, 500))
	if got := readAll(t, s, queryFor(t, everything)).samples(); got != 500 {
		t.Errorf("got %d samples, want 500", got)
	}
	if after := size(); after != before {
		t.Errorf("the same samples again wrote %d bytes", after-before)
	}
}

// Many writers at once, some with the same new series: all is there, and an insert that has
// returned is visible.
func TestInsert_Concurrent(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	const writers, writes = 8, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range writes {
				own := series("own", strconv.Itoa(w), 0, n+1)
				shared := series("shared"+strconv.Itoa(n), "d", 0, 3)
				if err := s.insert(t.Context(), []jsonline.Line{own, shared}); err != nil {
					t.Error(err)
					return
				}
				q := queryFor(t, fmt.Sprintf(`own{device_id="%d"}`, w))
				if got := readAll(t, s, q).samples(); got != n+1 {
					t.Errorf("writer %d: got %d samples, want %d", w, got, n+1)
				}
			}
		})
	}
	wg.Wait()
	got := readAll(t, s, queryFor(t, everything))
	if len(got) != writers+writes || got.samples() != writers*writes+writes*3 {
		t.Errorf("got %d series with %d samples", len(got), got.samples())
	}
}

// A full disk, or a client that has gone, leaves nothing of the insert, and the store goes on.
func TestInsert_Fails(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	insert(t, s, series("a", "d", 0, 1))
	if _, err := s.write.Exec("PRAGMA max_page_count = 20"); err != nil {
		t.Fatal(err)
	}
	if err := s.insert(t.Context(), []jsonline.Line{series("b", "d", 0, 1), series("c", "d", 0, 100_000)}); err == nil ||
		!strings.Contains(err.Error(), "full") {
		t.Errorf("full disk: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.insert(ctx, []jsonline.Line{series("b", "d", 0, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	insert(t, s, series("a", "e", 0, 1))
	if got := readAll(t, s, queryFor(t, everything)); got.samples() != 2 || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

// Random inserts and prunes against a map, with the store closed and opened again in between.
func TestStore_Property(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprintf("%d.db", run))
		s, err := openStore(path)
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer func() { s.close() }()
		want := contents{}
		lines := rapid.Custom(func(t *rapid.T) jsonline.Line {
			l := series(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"),
				rapid.SampledFrom([]string{"", "d"}).Draw(t, "device"), 0, 0)
			l.Timestamps = rapid.SliceOfN(rapid.Int64Range(t0, t0+200), 1, 70).Draw(t, "timestamps")
			for range l.Timestamps {
				l.Values = append(l.Values, rapid.OneOf(rapid.Float64(), rapid.Just(0.0), rapid.Just(1e300)).Draw(t, "value"))
			}
			return l
		})
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"insert", "insert", "insert", "prune", "reopen"}).Draw(t, "step") {
			case "insert":
				batch := rapid.SliceOfN(lines, 1, 3).Draw(t, "batch")
				if err := s.insert(context.Background(), batch); err != nil {
					t.Fatalf("%v", err)
				}
				want.add(batch)
			case "prune":
				before := rapid.Int64Range(t0-5, t0+210).Draw(t, "before")
				removed := want.prune(before)
				if got, err := s.prune(context.Background(), before); err != nil || got != removed {
					t.Fatalf("prune: got %d, %v, want %d", got, err, removed)
				}
				var left int
				if err := s.read.QueryRow("SELECT count(*) FROM series").Scan(&left); err != nil || left != len(want) {
					t.Fatalf("after prune: %d series, %v, want %d", left, err, len(want))
				}
			case "reopen":
				if err := s.close(); err != nil {
					t.Fatalf("%v", err)
				}
				if s, err = openStore(path); err != nil {
					t.Fatalf("%v", err)
				}
			}
			q := queryFor(t, everything)
			q.maxRows = rapid.IntRange(5, 50).Draw(t, "rows")
			if got := readAll(t, s, q); !maps.EqualFunc(got, want, maps.Equal) {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

// Odd names must reach SQLite as they are.
func TestOpen_Names(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b.db", "100%.db", "what?.db", "a#b.db", "a%41.db", "ä&_pragma=x.db", "file:x"} {
		path := filepath.Join(t.TempDir(), name)
		insert(t, newStore(t, path), series("a", "d", 1, 1))
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOpen_SecondCopy(t *testing.T) {
	t.Parallel()
	path := newDB(t)
	s := newStore(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		_, err := openStore(name)
		want := fmt.Sprintf("open store %q: another process has it open (lock file %q)", name, path+".lock")
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	newStore(t, link)
}

// database makes a SQLite file with the given statements.
func database(t testing.TB, statements string) string {
	t.Helper()
	path := newDB(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen_Refused(t *testing.T) {
	t.Parallel()
	f := func(path, want string) {
		t.Helper()
		before, _ := os.ReadFile(path)
		for range 2 { // it must not be locked either
			s, err := openStore(path)
			if err == nil {
				s.close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("open store %q: ", path)) {
				t.Errorf("got %q, want %q in it", err, want)
			}
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("%s: the file was changed", want)
		}
	}
	file := func(text string) string {
		path := newDB(t)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f(file("listen: 127.0.0.1:8428\n"), "it was left as it is")
	f(file("x"), "it was left as it is")
	f(file("SQLite format 3\x00"+strings.Repeat("\xff", 5000)), "it was left as it is")
	const foreign = "belongs to another program (application_id "
	f(database(t, "PRAGMA application_id = 1; PRAGMA user_version = 1; CREATE TABLE series (id)"), foreign+"0x1, want 0x624d7278)")
	f(database(t, "CREATE TABLE samples (id)"), foreign+"0x0")
	f(database(t, "PRAGMA journal_mode = WAL; CREATE TABLE samples (id)"), foreign)
	f(database(t, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 3", applicationID)), "schema 3 is newer than this receiver's 2")
	f(t.TempDir(), "not a regular file")
	f(filepath.Join(t.TempDir(), "missing", "receiver.db"), "does not exist; create it first")
}

// An empty file, and one from a receiver that was killed before it made its tables, are made ready;
// one of the former gateway, with its table of chunks, is used as it is.
func TestOpen_Earlier(t *testing.T) {
	t.Parallel()
	for _, statements := range []string{
		"", "PRAGMA journal_mode = WAL",
		schema + fmt.Sprintf("CREATE TABLE chunks (id INTEGER); PRAGMA application_id = %d; PRAGMA user_version = 2", applicationID),
	} {
		path := database(t, statements)
		for range 2 {
			s, err := openStore(path)
			if err != nil {
				t.Fatal(err)
			}
			insert(t, s, series("a", "d", 1, 1))
			if err := s.close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOpen_Settings(t *testing.T) {
	t.Parallel()
	s := newStore(t, newDB(t))
	for pragma, want := range map[string]int{"synchronous": 2, "application_id": applicationID, "user_version": schemaVersion} {
		var got int
		if err := s.write.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", pragma, got, err, want)
		}
	}
	var mode string
	if err := s.write.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal_mode: got %s, %v", mode, err)
	}
	if _, err := s.read.Exec("DELETE FROM samples"); err == nil {
		t.Error("a reader can write")
	}
}

func BenchmarkInsert(b *testing.B) {
	s := newStore(b, newDB(b))
	lines := make([]jsonline.Line, 100)
	for i := range lines {
		lines[i] = series("m"+strconv.Itoa(i), "d", 0, 25)
	}
	for n := int64(0); b.Loop(); n++ {
		for i := range lines {
			for k := range lines[i].Timestamps {
				lines[i].Timestamps[k] += 25_000
			}
		}
		insert(b, s, lines...)
	}
}
