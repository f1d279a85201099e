//go:build unix

package schedule

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/sample"
)

// BenchmarkTick runs ticks of eleven collectors that do nothing, as far apart as
// the clock allows, and says what the scheduler itself takes of the processor for
// one. The daemon runs on one core, so -cpu 1 is what it pays.
func BenchmarkTick(b *testing.B) {
	var collectors []sample.Collector
	for i := range 11 {
		collectors = append(collectors, newFake(fmt.Sprint("c", i), nil))
	}
	s, err := New(Config{Interval: minInterval}, Deps{Collectors: collectors})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	ticks := 0
	b.ReportAllocs()
	before := cpuTime(b)
	b.ResetTimer()
	if err := s.Run(ctx, func(context.Context, *Tick) error {
		if ticks++; ticks == b.N {
			cancel()
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/tick")
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
