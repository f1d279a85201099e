package sample

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
)

// newLive makes collectors that read this machine, but nothing of it that may be
// slow, sick or hang: no sensors, and of all mounts the root file system alone.
func newLive(t testing.TB, network config.NetworkConfig) []Collector {
	t.Helper()
	cfg := only("cpu", "memory", "load", "system", "pressure", "network", "disk", "link")
	cfg.Network = network
	collectors, err := New(cfg, "dev")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "/" {
			m.write("proc/self/mounts", line) // the last one covers those before
		}
	}
	return append(collectors, NewFilesystem(m.fs(), &Registry{Device: "dev"}))
}

// supported leaves out the collectors that find nothing to read, as the
// scheduler does for a minute at a time.
func supported(collectors []Collector) []Collector {
	return slices.DeleteFunc(collectors, func(c Collector) bool {
		return errors.Is(c.Collect(time.Now(), &Batch{}), proc.ErrNotSupported)
	})
}

func TestTick_AllocatesNothing(t *testing.T) {
	// Mount points of a fixture are not there to be asked.
	board, err := New(readingTree(only("cpu", "memory", "load", "system", "pressure", "network", "disk", "wireless", "thermal", "hwmon", "link", "board"),
		treeOf("rk3588")), "dev")
	if err != nil {
		t.Fatal(err)
	}
	node, err := New(nodeConfig(readingTree(only("cpu", "memory", "load", "pressure", "network", "disk", "thermal", "hwmon", "link", "board"),
		newMachine(t, "rk3588", "node-files").fs())), "dev")
	if err != nil {
		t.Fatal(err)
	}
	for tree, collectors := range map[string][]Collector{"this machine": newLive(t, networkConfig()), "rk3588": board, "node_exporter's names": node} {
		for _, c := range supported(collectors) {
			if c.Name() == "filesystem" {
				continue // the call of statfs copies the path; for the rest see TestFilesystem_AllocatesNothing
			}
			var b Batch
			failures := 0
			n := testing.AllocsPerRun(50, func() {
				b.Begin(time.Now(), nil)
				if err := c.Collect(time.Now(), &b); err != nil {
					t.Errorf("%s: %v", c.Name(), err)
				}
				failures += len(b.Errors)
			})
			if failures > 0 { // an error is made anew each time
				t.Logf("%s has sensors that fail on %s: %v", c.Name(), tree, b.Errors)
			} else if n != 0 {
				t.Errorf("%s on %s: %v allocations a tick, want 0", c.Name(), tree, n)
			}
		}
	}
}

// BenchmarkTick reads everything on this machine, as one tick does.
func BenchmarkTick(b *testing.B) { benchmarkTick(b, newLive(b, networkConfig())) }

// BenchmarkTick_Node reads the names of node_exporter too.
func BenchmarkTick_Node(b *testing.B) {
	cfg := only("cpu", "memory", "load", "system", "pressure", "network", "disk", "link")
	cfg.Collection.NodeExporter.Enabled = true
	collectors, err := New(cfg, "dev")
	if err != nil {
		b.Fatal(err)
	}
	benchmarkTick(b, collectors)
}

func benchmarkTick(b *testing.B, collectors []Collector) {
	collectors = supported(collectors)
	batches := make([]Batch, len(collectors))
	samples := 0
	b.ReportAllocs()
	for b.Loop() {
		samples = 0
		for i, c := range collectors {
			batches[i].Begin(time.Now(), nil)
			if err := c.Collect(time.Now(), &batches[i]); err != nil {
				b.Fatal(err)
			}
			samples += len(batches[i].Samples)
		}
	}
	b.ReportMetric(float64(samples), "samples/tick")
}

// BenchmarkCollectors reads each source on this machine by itself.
func BenchmarkCollectors(b *testing.B) {
	for _, c := range supported(newLive(b, networkConfig())) {
		b.Run(c.Name(), func(b *testing.B) {
			var batch Batch
			b.ReportAllocs()
			for b.Loop() {
				batch.Begin(time.Now(), nil)
				if err := c.Collect(time.Now(), &batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(batch.Samples)), "samples/tick")
		})
	}
}
