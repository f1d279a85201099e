package chunk

import (
	"cmp"
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
	b := newBuilder(cfg)
	bodies, refused, text, err := b.Build(rows, c.get, noon, 0)
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
	bodies, _, _, err = b.BuildCatchUp(rows, c.get, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "catchup.jsonl", texts(t, bodies))
}

// TestBuild_JSONL is one metric as the server reads it: a line with name and labels,
// the values, and as many timestamps in milliseconds.
func TestBuild_JSONL(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "cpu.usage_percent", store.Tag{Name: "core", Value: "all"})
	bodies, _, _, err := newBuilder(limits).Build([]store.Row{row(0, 1, 12.5), row(10*time.Second, 1, 90)}, c.get, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metric":{"__name__":"cpu_usage_percent","core":"all","device_id":"d"},"values":[12.5,90],"timestamps":[1795176000000,1795176010000]}` + "\n"
	if got := texts(t, bodies); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestBuild_SortedByTimestamp: lines by their first timestamp, over all chunks of an
// upload, and the samples of a line in the order of time.
func TestBuild_SortedByTimestamp(t *testing.T) {
	t.Parallel()
	const series, ticks = 7, 10
	c := catalogue{}
	var rows []store.Row
	for id := int64(1); id <= series; id++ {
		c.put(id, fmt.Sprint("m", id))
		for tick := series - int(id); tick < ticks; tick++ { // the last series comes first
			rows = append(rows, row(time.Duration(tick)*10*time.Second, id, float64(tick)))
		}
	}
	sortRows(rows)
	cfg := limits
	cfg.MaxMetrics = 2
	bodies, _, _, err := newBuilder(cfg).Build(rows, c.get, noon, 0)
	if err != nil || len(bodies) != 4 {
		t.Fatalf("%d bodies, %v, want 4", len(bodies), err)
	}
	var firsts []int64
	for _, body := range bodies {
		for _, line := range parse(t, body) {
			if !slices.IsSorted(line.Timestamps) {
				t.Errorf("%v: %v", line.Metric, line.Timestamps)
			}
			firsts = append(firsts, line.Timestamps[0])
		}
	}
	if len(firsts) != series || !slices.IsSorted(firsts) || firsts[0] != noon.UnixMilli() {
		t.Errorf("the lines begin at %v", firsts)
	}
}

// TestBuild_Gzip: what is sent is one gzip stream of the lines, and a good deal
// shorter than they are.
func TestBuild_Gzip(t *testing.T) {
	t.Parallel()
	rows, series := device(50, 3, 10*time.Second)
	bodies, _, _, err := newBuilder(limits).Build(rows, series, noon, 0)
	if err != nil || len(bodies) != 1 {
		t.Fatalf("%d bodies, %v", len(bodies), err)
	}
	body := bodies[0]
	if len(body.Gzip) < 3 || body.Gzip[0] != 0x1f || body.Gzip[1] != 0x8b || body.Gzip[2] != 8 { // RFC 1952, section 2.3
		t.Errorf("the body begins with % x", body.Gzip[:3])
	}
	if raw := unzip(t, body); len(raw) != body.Raw || len(body.Gzip) > len(raw)/4 || len(parse(t, body)) != 50 {
		t.Errorf("%d bytes of %d (Raw says %d), %d lines", len(body.Gzip), len(raw), body.Raw, len(parse(t, body)))
	}
}

// TestBuild_ByteLimit: chunks that would be larger after compression are halved, by
// metrics, and by time where one metric alone is too large.
func TestBuild_ByteLimit(t *testing.T) {
	t.Parallel()
	f := func(name string, maxBytes, least int, rows []store.Row, c catalogue) {
		t.Helper()
		bodies, refused, _, err := newBuilder(Config{MaxBytes: maxBytes}).Build(rows, c.get, noon, 0)
		if err != nil || len(refused) > 0 || len(bodies) < least {
			t.Fatalf("%s: %d bodies, %d refused, %v, want %d bodies at least", name, len(bodies), len(refused), err, least)
		}
		var sent store.KeySet
		for _, body := range bodies {
			if n := len(body.Gzip); n > cmp.Or(maxBytes, 256<<10) {
				t.Errorf("%s: a body of %d bytes", name, n)
			}
			sent = append(sent, body.Keys...)
		}
		slices.Sort(sent)
		if len(sent) != len(rows) || len(slices.Compact(sent)) != len(rows) {
			t.Errorf("%s: %d rows sent of %d", name, len(sent), len(rows))
		}
	}
	large, one := catalogue{}, catalogue{}
	var wide, long []store.Row
	for id := range int64(50) { // 8 kB each that gzip cannot shorten: 400 kB
		large.put(id+1, "large")
		for i := range 20 {
			large[id+1].Tags = append(large[id+1].Tags, store.Tag{Name: fmt.Sprint("t", i), Value: noise(uint64(id*20)+uint64(i), 400)})
		}
		wide = append(wide, row(0, id+1, 1))
	}
	one.put(1, "long")
	for i := range 400 {
		long = append(long, row(time.Duration(i)*time.Second, 1, 1/float64(i+1)))
	}
	f("many metrics", 0, 2, wide, large)
	f("one metric", 1000, 3, long, one)
}

// TestBuild_StringMetricsLeftOut: texts come back by themselves, and no line has them.
func TestBuild_StringMetricsLeftOut(t *testing.T) {
	t.Parallel()
	c := catalogue{}
	c.put(1, "load.average_1m")
	c.put(2, "system.kernel_release")
	c[2].Type = store.Text
	rows := []store.Row{row(0, 1, 0.5), row(0, 2, 0), row(time.Second, 2, 0)}
	bodies, refused, text, err := newBuilder(limits).Build(rows, c.get, noon, 0)
	if err != nil || len(refused) > 0 || !slices.Equal(text, store.KeySet{rows[1].Key, rows[2].Key}) {
		t.Errorf("texts %v, refused %v, %v", text, refused, err)
	}
	if got := texts(t, bodies); strings.Count(got, "\n") != 1 || strings.Contains(got, "kernel") {
		t.Errorf("the lines are %s", got)
	}
	if bodies, _, text, err = newBuilder(limits).Build(rows[1:], c.get, noon, 0); err != nil || len(bodies) != 0 || len(text) != 2 {
		t.Errorf("texts alone: %d bodies, texts %v, %v", len(bodies), text, err)
	}
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
			b := newBuilder(cfg)
			bodies, refused, text, err := b.Build(rows, series, noon, 0)
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
		bodies, _, _, err := newBuilder(limits).Build(rows, infos, noon, 0)
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
	b := newBuilder(Config{})
	for _, build := range []func([]store.Row, SeriesFunc, time.Time, int64) ([]*sent, []Refused, store.KeySet, error){b.Build, b.BuildCatchUp} {
		bodies, refused, text, err := build(nil, catalogue{}.get, noon, 0)
		if len(bodies)+len(refused)+len(text) > 0 || err != nil {
			t.Errorf("no rows give %v %v %v %v", bodies, refused, text, err)
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
	b := newBuilder(Config{})
	for _, name := range []string{"one", "two"} {
		c := catalogue{}
		c.put(1, name)
		body, err := b.Rebuild([]store.Row{row(0, 1, 1)}, c.get, noon, 0)
		if err != nil || !strings.Contains(string(unzip(t, body)), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBuild_ManySeries fills what a Builder remembers several times over.
func TestBuild_ManySeries(t *testing.T) {
	t.Parallel()
	const n = maxHeads + 1000
	b := newBuilder(Config{})
	rows := make([]store.Row, n)
	for i := range rows {
		rows[i] = row(0, int64(i+1), float64(i))
	}
	series := func(id int64) (*store.SeriesInfo, error) {
		return &store.SeriesInfo{ID: id, Name: fmt.Sprint("m", id)}, nil
	}
	bodies, _, _, err := b.BuildCatchUp(rows, series, noon, 0)
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

// TestBuild_Allocations: what a Builder allocates depends on bodies and series,
// not on samples.
func TestBuild_Allocations(t *testing.T) {
	series := 20
	count := func(ticks int) float64 {
		rows, infos := device(series, ticks, time.Second)
		b := New(limits)
		return testing.AllocsPerRun(5, func() {
			if _, _, _, err := b.Build(rows, infos, noon, 0); err != nil {
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
