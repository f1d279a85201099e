package store

import (
	"testing"
	"time"
)

// targetSeries24h is what a chart of a day may cost the daemon.
const targetSeries24h = 50 * time.Millisecond

// BenchmarkSeries24h reads a chart of 100 series over 24 hours, 288 points each,
// from a file of a million rows.
func BenchmarkSeries24h(b *testing.B) {
	const perTick, ticks, every = 116, 8640, 10 * time.Second
	path := newPath(b)
	in := openInserter(b, options(path), time.Hour)
	start := tick0.Truncate(time.Hour)
	all := samples(numberSeries(perTick), 0)
	for tick := range ticks {
		for i := range all {
			all[i].Value = benchValue(tick, i)
		}
		mustInsert(b, in, start.Add(time.Duration(tick)*every), all)
	}
	r := openReader(b, path)
	ids := make([]int64, 100)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	var rows int
	before := measure(b)
	for b.Loop() {
		rows = 0
		err := r.Probe(b.Context(), ids, start.UnixMilli(), start.Add(24*time.Hour).UnixMilli(), 300_000, func(int64, int64, float64) { rows++ })
		if err != nil {
			b.Fatal(err)
		}
	}
	cpu := (measure(b).cpu - before.cpu) / time.Duration(b.N)
	if rows != 100*288 {
		b.Errorf("got %d samples, want 28800", rows)
	}
	b.ReportMetric(float64(cpu.Microseconds())/1000, "cpu-ms/op")
	if cpu > targetSeries24h {
		b.Errorf("it cost %v of CPU, want at most %v", cpu, targetSeries24h)
	}
}
