package sample

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// newLive makes collectors that read this machine, the root file system alone
// of all mounts: other tests mount file systems that hang, and a process that
// asks one cannot end before its server does.
func newLive(t testing.TB, cfg Config) []Collector {
	t.Helper()
	cfg.Device = "dev"
	cfg.Enabled = func(name string) bool { return name != "filesystem" }
	collectors, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var root string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "/" {
			root = line // the last one covers those before
		}
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "self"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "self/mounts"), []byte(root), 0o644); err != nil {
		t.Fatal(err)
	}
	filesystem, err := New(Config{
		FS: proc.FS{Proc: dir}, Device: "dev",
		Enabled: func(name string) bool { return name == "filesystem" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(collectors, filesystem...)
}

// supported leaves out the collectors that find nothing to read, as the
// scheduler does for a minute at a time.
func supported(collectors []Collector) []Collector {
	return slices.DeleteFunc(collectors, func(c Collector) bool {
		return errors.Is(c.Collect(time.Now(), &Batch{}), proc.ErrNotSupported)
	})
}

func TestTick_AllocatesNothing(t *testing.T) {
	board, err := New(Config{
		FS:     proc.FS{Proc: "../proc/testdata/rk3588/proc", Sys: "../proc/testdata/rk3588/sys"},
		Device: "dev",
		// Mount points of a fixture are not there to be asked.
		Enabled: func(name string) bool { return name != "filesystem" },
	})
	if err != nil {
		t.Fatal(err)
	}
	for tree, collectors := range map[string][]Collector{"this machine": newLive(t, Config{}), "rk3588": board} {
		for _, c := range supported(collectors) {
			var b Batch
			failures := 0
			n := testing.AllocsPerRun(50, func() {
				b.Reset()
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
func BenchmarkTick(b *testing.B) {
	collectors := supported(newLive(b, Config{}))
	batches := make([]Batch, len(collectors))
	samples := 0
	b.ReportAllocs()
	for b.Loop() {
		samples = 0
		for i, c := range collectors {
			batches[i].Reset()
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
	for _, c := range supported(newLive(b, Config{})) {
		b.Run(c.Name(), func(b *testing.B) {
			var batch Batch
			b.ReportAllocs()
			for b.Loop() {
				batch.Reset()
				if err := c.Collect(time.Now(), &batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(batch.Samples)), "samples/tick")
		})
	}
}
