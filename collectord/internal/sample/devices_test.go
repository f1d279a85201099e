package sample

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
)

// testDevice makes series without labels of the device.
var testDevice = &Registry{Device: "test"}

// defaultDisks are those that the defaults allow.
var defaultDisks = config.Default().Disk.AllowedDevices

// networkConfig returns the defaults with changes.
func networkConfig(changes ...func(*config.NetworkConfig)) config.NetworkConfig {
	c := config.Default().Network
	for _, change := range changes {
		change(&c)
	}
	return c
}

// treeOf returns the fixture tree of that name.
func treeOf(name string) proc.FS {
	dir := filepath.Join("../proc/testdata", name)
	return proc.FS{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
}

// machine is a tree that changes while collectors watch it, a second a tick.
type machine struct{ *harness }

func newMachine(t testing.TB, trees ...string) machine {
	t.Helper()
	m := machine{&harness{t: t, dir: t.TempDir(), at: time.Now()}}
	for _, tree := range trees {
		m.lay(tree)
	}
	return m
}

// tick lets c collect, a second after the last time.
func (m machine) tick(c Collector) result {
	m.t.Helper()
	m.at = m.at.Add(time.Second)
	return collectAt(m.t, c, m.at)
}

// result is what one tick gave.
type result struct {
	values map[string]float64 // by name and tags: `disk.reads_total{"device":"sda"}`
	errs   []error            // of sensors
	err    error              // of the whole source
}

func collectAt(t testing.TB, c Collector, at time.Time) result {
	t.Helper()
	var b Batch
	b.Begin(at, nil)
	err := c.Collect(at, &b)
	r := result{values: make(map[string]float64), errs: b.Errors, err: err}
	for _, s := range b.Samples {
		key := s.Series.Name
		if s.Series.Tags != "{}" {
			key += s.Series.Tags
		}
		if _, twice := r.values[key]; twice {
			t.Errorf("%s twice in one tick", key)
		}
		r.values[key] = s.Value
	}
	return r
}

// want fails unless the values of the metrics that begin with prefix are
// exactly these.
func (r result) want(t *testing.T, prefix string, want map[string]float64) {
	t.Helper()
	got := maps.Clone(r.values)
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, prefix) })
	if !maps.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", prefix, sorted(got), sorted(want))
	}
}

// wantFaults fails unless there are exactly n errors of sensors and none of the
// whole source.
func (r result) wantFaults(t *testing.T, n int) {
	t.Helper()
	if r.err != nil || len(r.errs) != n {
		t.Errorf("got errors %q and %v, want %d of sensors", r.errs, r.err, n)
	}
}

// labelled returns the values of one label over all samples, sorted.
func (r result) labelled(label string) []string {
	var found []string
	for key := range r.values {
		_, rest, ok := strings.Cut(key, `"`+label+`":"`)
		if value, _, _ := strings.Cut(rest, `"`); ok && !slices.Contains(found, value) {
			found = append(found, value)
		}
	}
	slices.Sort(found)
	return found
}

func sorted(values map[string]float64) []string { return slices.Sorted(maps.Keys(values)) }

// must returns the collector of a constructor that cannot fail here.
func must(c Collector, err error) Collector {
	if err != nil {
		panic(err)
	}
	return c
}

// wantNoAllocations fails if a tick in steady state allocates, a millisecond after the last one, so
// that the lists that are made anew each minute stay.
func wantNoAllocations(t *testing.T, c Collector) {
	t.Helper()
	wantNoAllocationsEvery(t, time.Millisecond, c)
}

func wantNoAllocationsEvery(t *testing.T, interval time.Duration, c Collector) {
	t.Helper()
	var b Batch
	at := time.Now()
	tick := func() {
		at = at.Add(interval)
		b.Begin(at, nil)
		if err := c.Collect(at, &b); err != nil || len(b.Errors) > 0 {
			t.Fatal(err, b.Errors)
		}
	}
	tick()
	tick()
	if len(b.Samples) == 0 {
		t.Fatal("no samples, so that nothing is proven")
	}
	if n := testing.AllocsPerRun(200, tick); n != 0 {
		t.Errorf("%v allocations a tick, want 0", n)
	}
}

// benchCollector measures ticks a second apart, the minute's new lists included.
func benchCollector(b *testing.B, c Collector) {
	var batch Batch
	at := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Second)
		batch.Begin(at, nil)
		if err := c.Collect(at, &batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(batch.Samples)), "samples/tick")
}

func TestDevices_ComeAndGo(t *testing.T) {
	t.Parallel()
	made := 0
	d := newDevices(func(string) *int { made++; n := made; return &n })
	for i, step := range []struct {
		names   []string
		numbers []int // of what is kept, in the order of making
		created int
		forgot  bool
	}{
		{[]string{"a", "b", "a"}, []int{1, 2}, 2, false}, // named twice, seen once
		{[]string{"b", "a"}, []int{2, 1}, 0, false},
		{[]string{"b"}, []int{2}, 0, true},
		{[]string{"b"}, []int{2}, 0, false},
		{nil, nil, 0, true},
		{[]string{"a"}, []int{3}, 1, false}, // another one than before
	} {
		var numbers []int
		created := 0
		d.begin()
		for _, name := range step.names {
			n, isNew := d.see([]byte(name))
			if n != nil {
				numbers = append(numbers, *n)
			}
			if isNew {
				created++
			}
		}
		forgot := d.end()
		if !slices.Equal(numbers, step.numbers) || created != step.created || forgot != step.forgot {
			t.Errorf("step %d: got %v, %d created, forgot %v, want %+v", i, numbers, created, forgot, step)
		}
	}
}

func TestCompileNames(t *testing.T) {
	t.Parallel()
	list, err := compileNames("key", []string{`eth\d`, `a|b`})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"eth0": true, "eth01": false, "xeth0": false, "a": true, "b": true, "ab": false, "eth0\n": false, "": false,
	} {
		if got := matchesAny(list, name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
	_, err = compileNames("network.include", []string{`(`, `ok`, `)(`})
	if err == nil || strings.Count(err.Error(), "network.include") != 2 {
		t.Errorf("got %v, want both faults with the key", err)
	}
}

func TestLabelText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"eth0": "eth0", "über": "über", `a"b\`: `a"b\`, "x\xffy": `x\xffy`, "x\xfey": `x\xfey`, "": "",
	} {
		if got := labelText(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
