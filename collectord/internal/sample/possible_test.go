package sample

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

func TestBatch_AddsWhatIsPossible(t *testing.T) {
	t.Parallel()
	f := func(metric string, v float64, stored bool) {
		t.Helper()
		var b Batch
		b.Begin(time.Unix(1795450000, 0), nil)
		values := make([]string, len(tableByName[metric].Labels))
		b.Add(testDevice.Series(metric, values...), v)
		if told := len(b.Errors) > 0; len(b.Samples) > 0 != stored || told == stored && !math.IsNaN(v) {
			t.Errorf("%s = %v: got %v, %v", metric, v, b.Samples, b.Errors)
		}
	}
	f("cpu.usage_percent", 100, true)
	f("cpu.usage_percent", math.Nextafter(100, 101), false)
	f("cpu.usage_percent", -1e-9, false)
	f("thermal.zone_celsius", -100, true)
	f("thermal.zone_celsius", 250.1, false)
	f("cpu.frequency_hertz", 2.4e9, true)
	f("cpu.frequency_hertz", 2.4e15, false) // in hertz, where the kernel has kilohertz
	f("memory.total_bytes", math.Inf(1), false)
	f("memory.total_bytes", math.NaN(), false)
	f("disk.reads_total", 1<<63-1024, true)
	f("disk.reads_total", 1<<64-1024, false)
	f("network.receive_bytes_per_second", 49_911_000_000, false)
}

func TestBatch_AddPart(t *testing.T) {
	t.Parallel()
	f := func(v, whole float64, stored, told bool) {
		t.Helper()
		var b Batch
		b.AddPart(testDevice.Series("memory.available_bytes"), v, whole)
		if len(b.Samples) > 0 != stored || len(b.Errors) > 0 != told {
			t.Errorf("%v of %v: got %v, %v", v, whole, b.Samples, b.Errors)
		}
	}
	absent := math.NaN()
	f(0, 0, true, false)
	f(10, 10, true, false)
	f(11, 10, false, true)
	f(-1, 10, false, true)
	f(10, absent, true, false)
	f(absent, 10, false, false)
}

// TestBatch_CounterJumps: a counter that cannot have grown that much has no sample in that tick,
// and goes on from there.
func TestBatch_CounterJumps(t *testing.T) {
	t.Parallel()
	s := testDevice.Series("network.receive_bytes_total", "eth0")
	at := time.Unix(1795450000, 0)
	for i, step := range []struct {
		v      float64
		stored bool
	}{{1e15, true}, {1e15 + 1e9, true}, {2e15, false}, {2e15 + 1e9, true}, {1e15, true}, {0, true}, {5e11, true}, {2e12, false}} {
		var b Batch
		at = at.Add(10 * time.Second)
		b.Begin(at, nil)
		b.Add(s, step.v)
		if len(b.Samples) > 0 != step.stored || len(b.Errors) > 0 == step.stored {
			t.Errorf("step %d: got %v, %v", i, b.Samples, b.Errors)
		}
	}
}

func TestBatch_IgnoresFaultsByName(t *testing.T) {
	t.Parallel()
	f := func(pattern string, ignored bool, name ...string) {
		t.Helper()
		var b Batch
		b.Begin(time.Now(), Ignored{regexp.MustCompile("^(?:" + pattern + ")$")})
		b.Fail(&proc.ParseError{File: "/proc/meminfo", Line: 3, Err: proc.ErrRange}, name...)
		if len(b.Errors) > 0 == ignored {
			t.Errorf("%q of %q: got %v", pattern, name, b.Errors)
		}
	}
	f("npu-thermal", true, "thermal_zone3", "npu-thermal")
	f("thermal_zone3/npu.*", true, "thermal_zone3", "npu-thermal")
	f("thermal_zone3", true, "thermal_zone3", "npu-thermal")
	f("npu", false, "thermal_zone3", "npu-thermal")
	f("meminfo", true) // without a name that of the file
	f("memory[.]swap_used_bytes", true, "memory.swap_used_bytes")
	f("/mnt/nas", true, "/mnt/nas")
	f("mnt", false, "/mnt/nas")
}

// TestCollectors_NeverImpossible damages the files of whole machines, one word here and there in
// each tick, and lets every collector read them: each sample is within what its metric can be, no
// part is larger than its whole, and no file takes down another.
func TestCollectors_NeverImpossible(t *testing.T) {
	t.Parallel()
	odd := []string{
		"", "-1", "-5000", "-1294967", "0", "1", "43", "430", "99999999", "18446744073709346016", "18446744073709551615",
		"9223372036854775807", "9223372036854775808", "18446744073709015", "1e9", "NaN", "x", "0x2b", "4294967295", "-2147483648", "43000000", "MB",
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t, rapid.SampledFrom(boards).Draw(rt, "board"))
		cfg := only("cpu", "memory", "load", "system", "pressure", "network", "disk", "wireless", "thermal", "hwmon", "link", "board")
		collectors, err := New(readingTree(cfg, m.fs()), "dev")
		if err != nil {
			t.Fatal(err)
		}
		files := m.files()
		damaged := map[string]string{}
		for range rapid.IntRange(2, 4).Draw(rt, "ticks") {
			for range rapid.IntRange(0, 4).Draw(rt, "changes") {
				path := rapid.SampledFrom(files).Draw(rt, "file")
				if damaged[path] == "" {
					damaged[path] = m.read(path)
				}
				words := strings.SplitAfter(damaged[path], " ")
				i := rapid.IntRange(0, len(words)-1).Draw(rt, "word")
				end := strings.TrimLeft(words[i], "0123456789.-")
				words[i] = rapid.SampledFrom(odd).Draw(rt, "odd") + end
				m.write(path, strings.Join(words, ""))
			}
			m.at = m.at.Add(time.Second)
			var b Batch
			for _, c := range collectors {
				b.Begin(m.at, nil)
				err := c.Collect(m.at, &b)
				if err != nil && !errors.Is(err, proc.ErrNotSupported) && !strings.Contains(err.Error(), m.dir) {
					rt.Fatalf("%s: error %v names no file", c.Name(), err)
				}
				wantPossible(rt, b.Samples)
			}
		}
	})
}

// wantPossible knows the ranges of the most important metrics by itself.
func wantPossible(t *rapid.T, samples []store.Sample) {
	values := map[string]float64{}
	for _, s := range samples {
		values[s.Series.Name+s.Series.Tags] = s.Value
		high := math.MaxFloat64
		low := 0.0
		switch name := s.Series.Name; {
		case strings.HasPrefix(name, "mpp."):
			high = 1600 // of several cores
		case strings.HasSuffix(name, "_volts"), strings.HasSuffix(name, "_amperes"):
			low, high = -1000, 1000
		case strings.HasSuffix(name, "_percent"):
			high = 100
		case strings.HasSuffix(name, "_celsius"):
			low, high = -100, 250
		case strings.HasSuffix(name, "_dbm"):
			low, high = -256, 0
		case strings.HasPrefix(name, "network.") && strings.HasSuffix(name, "_bytes_per_second"):
			high = 12.5e9
		case strings.HasSuffix(name, "_total"):
			high = 1 << 63
		}
		if !(s.Value >= low && s.Value <= high) {
			t.Fatalf("%s%s = %v", s.Series.Name, s.Series.Tags, s.Value)
		}
	}
	for part, whole := range map[string]string{
		"memory.available_bytes{}": "memory.total_bytes{}", "memory.used_bytes{}": "memory.total_bytes{}",
		"memory.swap_used_bytes{}": "memory.swap_total_bytes{}",
	} {
		if w, ok := values[whole]; ok && values[part] > w {
			t.Fatalf("%s is %v of %v", part, values[part], w)
		}
	}
}

func TestTable_EveryMetricHasARange(t *testing.T) {
	t.Parallel()
	for i := range Table {
		m := &Table[i]
		if r := rangeOf(m); m.Kind != metrics.Text && !(r.Min < r.Max) {
			t.Errorf("%s: %v", m.Name, r)
		}
	}
	for unit := range unitRanges {
		if !slices.ContainsFunc(Table, func(m metrics.Metric) bool { return m.Unit == unit }) {
			t.Errorf("no metric has the unit %q", unit)
		}
	}
	defer func() {
		if fmt.Sprint(recover()) == "<nil>" {
			t.Error("a metric of an unknown unit has a range")
		}
	}()
	rangeOf(&metrics.Metric{Name: "x", Kind: metrics.Gauge, Unit: "furlongs"})
}
