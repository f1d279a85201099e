package chunk

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// oddBatch has what a batch can have: two ticks, a series that came late, text,
// rows that cannot be sent, labels that need care, clocks that were wrong.
func oddBatch() ([]store.Row, catalogue) {
	c := catalogue{}
	c.put(7, "cpu.usage_percent", store.Tag{Name: "core", Value: "all"})
	c.put(3, "cpu.usage_percent", store.Tag{Name: "core", Value: "0"})
	c.put(5, "disk.written_bytes_total", store.Tag{Name: "device", Value: "nvme0n1"})
	c.put(9, "2odd-näme", store.Tag{Name: "device_id", Value: "other"}, store.Tag{Name: "empty", Value: ""},
		store.Tag{Name: "my.tag", Value: "a \"b\"\\\n\x01é"})
	c.put(4, "system.kernel_release")
	c[4].Type = store.Text
	c.put(6, "too.many")
	for i := range MaxLabels {
		c[6].Tags = append(c[6].Tags, store.Tag{Name: fmt.Sprintf("l%02d", i), Value: "x"})
	}
	null := row(0, 5, 0)
	null.Null = true
	rows := []store.Row{
		row(-40*365*24*time.Hour, 3, 1), row(-40*365*24*time.Hour+10*time.Second, 3, 2),
		row(0, 3, 12.5), null, row(0, 7, 100*(1-0.1)), row(0, 9, 1e300),
		row(10*time.Second, 3, 0), row(10*time.Second, 4, 0), row(10*time.Second, 5, 1<<53), row(10*time.Second, 6, 1), row(10*time.Second, 7, -1e-9),
		row(20*time.Second, 5, 9007199254740994),
		row(9*365*24*time.Hour, 7, 3),
	}
	sortRows(rows)
	return rows, c
}

func TestBuild_Golden(t *testing.T) {
	t.Parallel()
	cfg := limits
	cfg.MaxMetrics = 3
	rows, c := oddBatch()
	b := New(cfg)
	bodies, refused, text, err := b.Build(rows, c.get, noon)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "batch.jsonl", texts(t, bodies))
	if len(text) != 1 || text[0].SeriesID() != 4 {
		t.Errorf("text rows %v, want the one of series 4", text)
	}
	if got := fmt.Sprintf("%s, %s", refused[0].Reason, refused[1].Reason); len(refused) != 2 || got != "no_value, too_many_labels" {
		t.Errorf("refused %+v", refused)
	}
	bodies, _, _, err = b.BuildCatchUp(rows, c.get, noon)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "catchup.jsonl", texts(t, bodies))
}

// TestBuild_LongSeries cuts series of more samples than a line carries.
func TestBuild_LongSeries(t *testing.T) {
	t.Parallel()
	rows, series := device(3, 2*valuesPerLine+7, time.Second)
	in := input{rows: rows, series: catalogue{}, byKey: map[store.Key]store.Row{}}
	for _, r := range rows {
		in.byKey[r.Key] = r
		in.series[r.Key.SeriesID()], _ = series(r.Key.SeriesID())
	}
	for _, maxMetrics := range []int{1, 2, 4, 50} {
		for _, maxBytes := range []int{900, 256 << 10} {
			cfg := Config{MaxMetrics: maxMetrics, MaxBytes: maxBytes}
			b := New(cfg)
			bodies, refused, text, err := b.Build(rows, series, noon)
			if err != nil {
				t.Fatal(err)
			}
			checkOutcome(t, cfg, in, bodies, refused, text)
			checkRebuild(t, cfg, in, b, bodies)
			lines := 0
			for _, body := range bodies {
				lines += body.Lines()
			}
			if maxBytes == 256<<10 && (lines != 9 || len(bodies) != (9+maxMetrics-1)/maxMetrics) {
				t.Errorf("%d lines in %d bodies of %d", lines, len(bodies), maxMetrics)
			}
		}
	}
}

// TestBuild_Chunks: 2500 rows of 2500 metrics are 50 chunks, of 100 metrics 2.
func TestBuild_Chunks(t *testing.T) {
	t.Parallel()
	f := func(series, ticks, want int) {
		t.Helper()
		rows, infos := device(series, ticks, 10*time.Second)
		bodies, _, _, err := New(limits).Build(rows, infos, noon)
		if err != nil || len(bodies) != want {
			t.Errorf("%d rows of %d metrics: %d bodies, %v, want %d", len(rows), series, len(bodies), err, want)
		}
	}
	f(2500, 1, 50)
	f(100, 25, 2)
	f(50, 1, 1)
	f(51, 1, 2)
	f(1, 2500, 1)
}

func TestBuild_Nothing(t *testing.T) {
	t.Parallel()
	b := New(Config{})
	for _, build := range []func([]store.Row, SeriesFunc, time.Time) ([]*Body, []Refused, store.KeySet, error){b.Build, b.BuildCatchUp} {
		bodies, refused, text, err := build(nil, catalogue{}.get, noon)
		if len(bodies)+len(refused)+len(text) > 0 || err != nil {
			t.Errorf("no rows give %v %v %v %v", bodies, refused, text, err)
		}
	}
}

func TestBuild_Errors(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "a")
	b := New(Config{})
	f := func(rows []store.Row, want string) {
		t.Helper()
		for _, build := range []func([]store.Row, SeriesFunc, time.Time) ([]*Body, []Refused, store.KeySet, error){b.Build, b.BuildCatchUp} {
			if bodies, _, _, err := build(rows, c.get, noon); err == nil || !strings.Contains(err.Error(), want) || bodies != nil {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		if _, err := b.Rebuild(rows, c.get, noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	f([]store.Row{row(0, 1, 0), row(0, 1, 0)}, "stands behind")
	f([]store.Row{row(0, 1, 0), row(-1e9, 1, 0)}, "stands behind")
	f([]store.Row{row(0, 1, 0), row(0, 2, 0)}, "series 2 is not in the file")

	broken := errors.New("broken")
	_, _, _, err := b.Build([]store.Row{row(0, 1, 0)}, func(int64) (*store.SeriesInfo, error) { return nil, broken }, noon)
	if !errors.Is(err, broken) {
		t.Errorf("error %v hides its cause", err)
	}
	// An error leaves nothing behind.
	if bodies, _, _, err := b.Build([]store.Row{row(0, 1, 0)}, c.get, noon); err != nil || len(bodies) != 1 {
		t.Errorf("after errors: %d bodies, %v", len(bodies), err)
	}
}

func TestRebuild_Errors(t *testing.T) {
	t.Parallel()
	rows, c := oddBatch()
	for _, want := range []string{"no_value", "too_many_labels", "is text"} {
		i := slices.IndexFunc(rows, func(r store.Row) bool {
			return want == "no_value" && r.Null || want == "too_many_labels" && r.Key.SeriesID() == 6 || want == "is text" && r.Key.SeriesID() == 4
		})
		if _, err := New(Config{}).Rebuild(rows[i:i+1], c.get, noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := New(Config{}).Rebuild(nil, c.get, noon); err == nil {
		t.Error("no rows were rebuilt")
	}
}

// TestRebuild_IgnoresLimits: the configuration may have changed since.
func TestRebuild_IgnoresLimits(t *testing.T) {
	t.Parallel()
	rows, series := device(20, 3, time.Second)
	want, _, _, err := New(Config{}).Build(rows, series, noon)
	if err != nil {
		t.Fatal(err)
	}
	got, err := New(Config{MaxMetrics: 1, MaxBytes: 100}).Rebuild(rows, series, noon)
	if err != nil || len(want) != 1 || got.Hash != want[0].Hash {
		t.Errorf("rebuilt under smaller limits: %v, the same: %v", err, err == nil && got.Hash == want[0].Hash)
	}
}

func TestBuild_TooLargeAlone(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "small")
	c.put(2, "large")
	for i := range 20 {
		c[2].Tags = append(c[2].Tags, store.Tag{Name: fmt.Sprintf("t%d", i), Value: noise(uint64(i), 300)})
	}
	rows := []store.Row{row(0, 1, 1), row(0, 2, 2), row(time.Second, 1, 3), row(time.Second, 2, 4)}
	b := New(Config{MaxBytes: 1000})
	for _, build := range []func([]store.Row, SeriesFunc, time.Time) ([]*Body, []Refused, store.KeySet, error){b.Build, b.BuildCatchUp} {
		bodies, refused, _, err := build(rows, c.get, noon)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for _, body := range bodies {
			sent += len(body.Keys)
		}
		if sent != 2 || len(refused) != 2 || refused[0].Reason != TooLarge || refused[0].Key.SeriesID() != 2 {
			t.Errorf("%d sent, refused %+v", sent, refused)
		}
	}
}

// noise returns text that gzip cannot shorten much.
func noise(seed uint64, n int) string {
	var b strings.Builder
	for x := seed; b.Len() < n; {
		x = x*6364136223846793005 + 1442695040888963407
		b.WriteByte('!' + byte(x>>40)%94)
	}
	return b.String()
}

// TestBuild_SeriesChange: a Builder trusts what it remembers of a series only as
// long as it is given the same one.
func TestBuild_SeriesChange(t *testing.T) {
	t.Parallel()
	b := New(Config{})
	for _, name := range []string{"one", "two"} {
		c := catalogue{}
		c.put(1, name)
		body, err := b.Rebuild([]store.Row{row(0, 1, 1)}, c.get, noon)
		if err != nil || !strings.Contains(string(unzip(t, body)), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBuild_ManySeries fills what a Builder remembers several times over.
func TestBuild_ManySeries(t *testing.T) {
	t.Parallel()
	const n = maxHeads + 1000
	b := New(Config{})
	rows := make([]store.Row, n)
	for i := range rows {
		rows[i] = row(0, int64(i+1), float64(i))
	}
	series := func(id int64) (*store.SeriesInfo, error) {
		return &store.SeriesInfo{ID: id, Name: fmt.Sprint("m", id)}, nil
	}
	bodies, _, _, err := b.BuildCatchUp(rows, series, noon)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, body := range bodies {
		sent += len(body.Keys)
		if len(body.Gzip) > defaultMaxBytes {
			t.Errorf("body of %d bytes", len(body.Gzip))
		}
	}
	if sent != n || len(b.heads) > maxHeads {
		t.Errorf("%d of %d rows sent, %d series remembered", sent, n, len(b.heads))
	}
}

// TestBuildCatchUp_Sizes: after the first bodies have told how well the rows
// compress, bodies have 128 to 200 KiB, each with its ticks for itself.
func TestBuildCatchUp_Sizes(t *testing.T) {
	t.Parallel()
	rows, series := device(97, 4001, 10*time.Second)
	b := New(limits)
	if _, _, _, err := b.BuildCatchUp(rows[:50_000], series, noon); err != nil {
		t.Fatal(err)
	}
	bodies, _, _, err := b.BuildCatchUp(rows, series, noon)
	if err != nil {
		t.Fatal(err)
	}
	if len(bodies) < 3 {
		t.Fatalf("%d bodies", len(bodies))
	}
	last := int64(0)
	for i, body := range bodies {
		if n := len(body.Gzip); n < 128<<10 || n > 210<<10 {
			t.Errorf("body %d has %d KiB, want 128 to 200", i, n>>10)
		}
		from, to := body.Range()
		if from <= last || !body.Contiguous {
			t.Errorf("body %d begins at %d, the one before ends at %d; contiguous %v", i, from, last, body.Contiguous)
		}
		last = to
	}
	if n := b.CatchUpRows(); n < 50_000 || n > 150_000 {
		t.Errorf("a body takes %d rows", n)
	}
}

// TestBuildCatchUp_BadGuess: rows that compress far worse than the last ones
// still keep to the limit.
func TestBuildCatchUp_BadGuess(t *testing.T) {
	t.Parallel()
	rows, series := device(2000, 10, 10*time.Second)
	b := New(Config{MaxBytes: 20_000})
	b.perRow = 0.01
	bodies, _, _, err := b.BuildCatchUp(rows, series, noon)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, body := range bodies {
		sent += len(body.Keys)
		if n := len(body.Gzip); n > 20_000 || n < 4_000 {
			t.Errorf("body of %d bytes, want near 20,000", n)
		}
	}
	if sent != len(rows) {
		t.Errorf("%d of %d rows", sent, len(rows))
	}
}

// TestBuild_Allocations: what a Builder allocates depends on bodies and series,
// not on samples.
func TestBuild_Allocations(t *testing.T) {
	series := 20
	count := func(ticks int) float64 {
		rows, infos := device(series, ticks, time.Second)
		b := New(limits)
		return testing.AllocsPerRun(5, func() {
			if _, _, _, err := b.Build(rows, infos, noon); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := count(10), count(400)
	if many > few+5 {
		t.Errorf("%v allocations for 10 ticks, %v for 400", few, many)
	}
}

func TestHalve(t *testing.T) {
	t.Parallel()
	f := func(ids string, wantA, wantB string) {
		t.Helper()
		var rows []store.Row
		for i, id := range ids {
			rows = append(rows, row(time.Duration(i)*time.Second, int64(id), 0))
		}
		a, b, ok := Halve(rows)
		text := func(rows []store.Row) (s string) {
			for _, r := range rows {
				s += string(rune(r.Key.SeriesID()))
			}
			return s
		}
		if text(a) != wantA || text(b) != wantB || ok != (wantA != "") {
			t.Errorf("%s: halves %s and %s, want %s and %s", ids, text(a), text(b), wantA, wantB)
		}
	}
	f("", "", "")
	f("a", "", "")
	f("aa", "a", "a")
	f("aaaaa", "aa", "aaa")
	f("ab", "a", "b")
	f("ba", "b", "a")
	f("aaabcddd", "aaab", "cddd")
	f("aaaaaaab", "aaaaaaa", "b")
	f("abbbbbbb", "a", "bbbbbbb")
	f("abcabcabc", "aaa", "bcbcbc")
	f("abcdabcd", "abab", "cdcd")
}
