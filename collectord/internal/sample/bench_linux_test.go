package sample

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// BenchmarkBoards reads what each board has beside what every machine has: in the mean of ticks
// 10 s and 1 s apart, and in a tick that reads all. A file of these trees costs a little less than
// one of sysfs, and none is at the end of a slow bus. The daemon runs on one core: -cpu 1.
func BenchmarkBoards(b *testing.B) {
	for _, tree := range boards {
		for name, interval := range map[string]time.Duration{"10s": 10 * time.Second, "1s": time.Second, "all": time.Minute} {
			b.Run(tree+"/"+name, func(b *testing.B) { benchmarkBoard(b, tree, interval) })
		}
	}
}

func benchmarkBoard(b *testing.B, tree string, interval time.Duration) {
	all, err := New(boardConfig(tree), "dev")
	if err != nil {
		b.Fatal(err)
	}
	collectors := supported(all)
	batches := make([]Batch, len(collectors))
	at, series := time.Unix(1795450000, 0), 0
	b.ReportAllocs()
	cpu, reads := cpuTime(b), readCalls(b)
	for b.Loop() {
		at = at.Add(interval)
		n := 0
		for i, c := range collectors {
			batches[i].Begin(at, nil)
			if err := c.Collect(at, &batches[i]); err != nil && !errors.Is(err, proc.ErrNotSupported) {
				b.Fatal(err)
			}
			n += len(batches[i].Samples)
		}
		series = max(series, n)
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/1000/float64(b.N), "cpu-µs/tick")
	b.ReportMetric(float64(readCalls(b)-reads)/float64(b.N), "reads/tick")
	b.ReportMetric(float64(series), "series")
}

// BenchmarkBoards_File reads one file of a tree: what the kernel takes for it is the floor.
func BenchmarkBoards_File(b *testing.B) {
	file := proc.NewSingle(treeOf("rk3588").SysPath("class/thermal/thermal_zone0/temp"))
	before := cpuTime(b)
	for b.Loop() {
		if _, err := file.Read(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/read")
}

// cpuTime is the processor time of this process so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// readCalls is how often this process has read from a file.
func readCalls(b *testing.B) (n int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "syscr:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		b.Fatal(err)
	}
	return n
}
