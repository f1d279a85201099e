package textfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/store"
)

// rig is a collector of a directory, and a clock.
type rig struct {
	t   testing.TB
	dir string
	c   *Collector
	at  time.Time
	out sample.Batch
}

func newRig(t testing.TB, change func(*config.TextfileConfig)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), at: time.Now().Add(time.Hour)}
	cfg := config.Default().Collection.Textfile
	cfg.Directory = r.dir
	if change != nil {
		change(&cfg)
	}
	r.c = New(cfg, &sample.Registry{Device: "dev", Labels: map[string]string{"site": "x"}}, func(name string) bool { return name == "cpu_usage_percent" })
	return r
}

// write leaves a file that was written some time ago.
func (r *rig) write(name, text string, age time.Duration) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, r.at.Add(-age)); err != nil {
		r.t.Fatal(err)
	}
}

// tick returns the samples of a tick without the collector's own, and its failures.
func (r *rig) tick() (got, failed []string) {
	r.t.Helper()
	r.at = r.at.Add(10 * time.Second)
	r.out.Begin(r.at, nil)
	if err := r.c.Collect(r.at, &r.out); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range r.out.Samples {
		if !strings.HasPrefix(s.Series.Name, "textfile.") {
			got = append(got, fmt.Sprint(s.Series.Name, s.Series.Tags, " ", s.Value))
		}
	}
	for _, err := range r.out.Errors {
		failed = append(failed, err.Error())
	}
	return got, failed
}

func (r *rig) want(samples, failed []string) {
	r.t.Helper()
	if gotSamples, gotFailed := r.tick(); !slices.Equal(gotSamples, samples) || !slices.Equal(gotFailed, failed) {
		r.t.Errorf("got %q, failed %q\nwant %q, failed %q", gotSamples, gotFailed, samples, failed)
	}
}

// own returns the value of one of the collector's own series.
func (r *rig) own(name, tag string) float64 {
	r.t.Helper()
	for _, s := range r.out.Samples {
		if s.Series.Name == name && strings.Contains(s.Series.Tags, tag) {
			return s.Value
		}
	}
	r.t.Errorf("no sample of %s{%s}", name, tag)
	return -1
}

const a1 = `a{"site":"x"} 1`

func TestCollect_Files(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("b.prom", "b{site=\"y\",device_id=\"z\",exported_site=\"w\",e=\"\"} 2\nn NaN\n", time.Minute)
	r.write("a.prom", "# TYPE a gauge\na 1\n", time.Minute)
	r.write(".c.prom", "c 1\n", time.Minute)
	r.write("d.txt", "d 1\n", time.Minute)
	b2 := `b{"exported_device_id":"z","exported_exported_site":"y","exported_site":"w","site":"x"} 2`
	r.want([]string{a1, b2}, nil)
	r.want([]string{a1, b2}, nil) // unchanged
	if got := r.own("textfile.series", `"file":"a.prom"`); got != 1 {
		t.Errorf("textfile.series %v, want 1", got)
	}
	// A wrong file costs only itself, and all of it.
	r.write("a.prom", "a 2\nx{ 1\n", time.Minute)
	r.want([]string{b2}, []string{`a.prom: line 2: want the name of a label, got "1"`})
}

func TestCollect_Failures(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("a.prom", "a 1\n", time.Minute)
	r.want([]string{a1}, nil)
	r.write("a.prom", "a 1\na{", time.Minute)
	// Not complete: the earlier content stays.
	r.want([]string{a1}, []string{"a.prom: line 2: no line break at the end: the file is not complete"})
	r.write("a.prom", "a 1\n", time.Minute)
	r.want([]string{a1}, nil)
	if got := r.own("textfile.failed", `"file":"a.prom"`); got != 0 {
		t.Errorf("textfile.failed %v, want 0", got)
	}

	r.write("b.prom", "b 1\na 7\ncpu_usage_percent 3\nb 9\n", time.Minute)
	r.want([]string{a1, `b{"site":"x"} 1`}, []string{"b.prom: line 2: the series is in a.prom already, line 1; and 2 more lines"})
	if got := r.own("textfile.failed", `"file":"b.prom"`); got != 1 {
		t.Errorf("textfile.failed %v, want 1", got)
	}
	if err := os.Remove(filepath.Join(r.dir, "b.prom")); err != nil {
		t.Fatal(err)
	}
	r.want([]string{a1}, nil)

	if err := os.Symlink("a.prom", filepath.Join(r.dir, "link.prom")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(r.dir, "pipe.prom"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.write("large.prom", strings.Repeat("#\n", maxFileBytes), time.Minute)
	huge, written := filepath.Join(r.dir, "huge.prom"), r.at.Add(-time.Minute)
	r.write("huge.prom", "#\n", 0)
	if err := errors.Join(os.Truncate(huge, 4<<30+2), os.Chtimes(huge, written, written)); err != nil { // 2 in the lower 32 bits
		t.Fatal(err)
	}
	_, failed := r.tick()
	if len(failed) != 4 || !strings.Contains(failed[0], "huge.prom: file too large") || !strings.Contains(failed[1], "large.prom: file too large") ||
		!strings.Contains(failed[2], "link.prom: not a regular file") || !strings.Contains(failed[3], "pipe.prom: not a regular file") {
		t.Errorf("failed %q", failed)
	}
}

// A file that is being written is read in the tick after.
func TestCollect_Young(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("a.prom", "a 1\n", time.Minute)
	r.want([]string{a1}, nil)
	r.write("a.prom", "a 2\n", -9500*time.Millisecond) // half a second before the next tick
	r.want([]string{a1}, nil)
	r.want([]string{`a{"site":"x"} 2`}, nil)
	for i := 3; i < 9; i++ { // written at each tick
		r.write("a.prom", fmt.Sprintf("a %d\n", i), -9500*time.Millisecond)
		r.tick()
	}
	if got, _ := r.tick(); len(got) != 1 || got[0] < `a{"site":"x"} 7` {
		t.Errorf("got %q: a file that is written at each tick is never read", got)
	}
}

func TestCollect_MaxAge(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.TextfileConfig) { c.MaxAge = time.Minute })
	r.write("a.prom", "a 1\n", 45*time.Second)
	r.want([]string{a1}, nil)
	stale := []string{"a.prom: not written for more than 1 min (collection.textfile.max_age): its series have ended"}
	r.want(nil, stale)
	r.want(nil, stale)
	r.write("a.prom", "a 1\n", 0)
	r.want([]string{a1}, nil)
}

func TestCollect_MaxSeries(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.TextfileConfig) { c.MaxSeries = 2 })
	r.write("a.prom", "a 1\n", time.Minute)
	r.write("b.prom", "b 1\nc 1\n", time.Minute)
	r.write("c.prom", "d 1\n", time.Minute)
	r.want([]string{a1, `d{"site":"x"} 1`}, []string{"b.prom: line 2: more than 2 series (collection.textfile.max_series): the file is left out"})
	if err := os.Remove(filepath.Join(r.dir, "a.prom")); err != nil {
		t.Fatal(err)
	}
	r.want([]string{`b{"site":"x"} 1`, `c{"site":"x"} 1`}, []string{"c.prom: line 1: more than 2 series (collection.textfile.max_series): the file is left out"})
}

// Samples with a timestamp are handed on until the store has decided.
func TestCollect_Dated(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ms := r.at.UnixMilli()
	text := func(offsets ...int64) (lines string) {
		for _, o := range offsets {
			lines += fmt.Sprintf("a %d %d\n", o, ms+o)
		}
		return lines
	}
	dated := func() (got []int64) {
		for _, d := range r.out.Dated {
			got = append(got, d.MS-ms)
		}
		return got
	}
	want := func(offsets ...int64) {
		t.Helper()
		if got := dated(); !slices.Equal(got, offsets) {
			t.Errorf("got %v, want %v", got, offsets)
		}
	}
	r.write("a.prom", text(-1000, -2000), time.Minute)
	r.want(nil, nil)
	want(-2000, -1000)
	r.out.Dated[0].Fate = store.DatedStored
	r.want(nil, nil)
	want(-1000)
	r.out.Dated[0].Fate = store.DatedTooOld
	old := []string{"a.prom: line 1: sample refused: the timestamp is older than storage.retention, remote.max_past or the database"}
	r.want(nil, old)
	want()
	r.want(nil, old)
	if got := r.own("textfile.samples_refused_total", `"old"`); got != 1 {
		t.Errorf("%v samples refused, want 1", got)
	}
	// Another content: what waited and is not in it is counted.
	r.write("a.prom", text(-500, -400, 7_200_000), time.Minute)
	_, failed := r.tick()
	want(-500, -400, 7_200_000)
	if len(failed) != 1 || !strings.Contains(failed[0], "line 3: the timestamp is ahead of the clock") {
		t.Errorf("failed %q", failed)
	}
	r.write("a.prom", text(-400, -300, -300)+"a 5\n", time.Minute)
	r.want(nil, []string{"a.prom: line 3: the series has a sample with this timestamp already; and 1 more lines"})
	want(-400, -300)
	if got := r.own("textfile.samples_refused_total", `"replaced"`); got != 2 {
		t.Errorf("%v samples replaced, want 2", got)
	}
}

func TestCollect_NoDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.TextfileConfig) { c.Directory += "/none" })
	r.out.Begin(r.at, nil)
	if err := r.c.Collect(r.at, &r.out); err == nil || !strings.Contains(err.Error(), "collection.textfile.directory") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkCollect is a tick with unchanged files.
func BenchmarkCollect(b *testing.B) {
	for _, n := range []int{0, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRig(b, func(c *config.TextfileConfig) { c.MaxSeries, c.MaxAge = 10_000, 0 })
			r.write("page.prom", string(page(n)), time.Minute)
			r.tick()
			b.ReportAllocs()
			for b.Loop() {
				r.out.Begin(r.at, nil)
				if err := r.c.Collect(r.at, &r.out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCollect_Room: what is in memory of all files together has an end, and a file that is too much
// costs only itself.
func TestCollect_Room(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.write("a.prom", "a 1\n", time.Minute)
	r.write("b.prom", strings.Repeat("b 1 1700000000000\n", maxAllSamples), time.Minute)
	r.write("c.prom", "#\n", time.Minute)
	r.want([]string{a1}, []string{"b.prom: line 100000: more than 100000 samples in all files: this one is left out"})
	r.write("b.prom", strings.Repeat("b 1 1700000000000\n", maxAllSamples-1), time.Minute)
	r.tick()
	if got := r.own("textfile.series", `"file":"b.prom"`); got != 1 {
		t.Errorf("textfile.series %v, want 1", got)
	}
	// A file can become another one that is as large.
	r.write("b.prom", strings.Repeat("b 2 1700000000000\n", maxAllSamples-1), 2*time.Minute)
	r.tick()
	if got := r.own("textfile.series", `"file":"b.prom"`); got != 1 {
		t.Errorf("textfile.series %v, want 1", got)
	}
	comment := "#" + strings.Repeat("x", 4094) + "\n"
	for _, name := range []string{"b.prom", "c.prom"} {
		r.write(name, strings.Repeat(comment, maxFileBytes/len(comment)), time.Minute)
	}
	r.want([]string{a1}, []string{"c.prom: more than 8 MiB in all files: this one is left out"})
	r.write("b.prom", "b 1\n", time.Minute)
	r.write("c.prom", "c 1\n", time.Minute)
	r.want([]string{a1, `b{"site":"x"} 1`, `c{"site":"x"} 1`}, nil)
}

// TestCollect_LongNames: files with long names have series of their own.
func TestCollect_LongNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	long := strings.Repeat("n", 240)
	r.write(long+"1.prom", "a 1\n", time.Minute)
	r.write(long+"2.prom", "a{\n", time.Minute)
	r.want([]string{a1}, []string{long + `2.prom: line 1: want the name of a label, got ""`})
	for number, want := range map[string]float64{"1": 0, "2": 1} {
		if got := r.own("textfile.failed", long+number+".prom"); got != want {
			t.Errorf("textfile.failed %v of file %s, want %v", got, number, want)
		}
	}
}
