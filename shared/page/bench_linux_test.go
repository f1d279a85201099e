package page

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// targetSeries24h is what a chart of a day may cost the daemon.
const targetSeries24h = 50 * time.Millisecond

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// dayOfHundred asks for about 100 series over 24 hours.
func dayOfHundred() seriesQuery {
	q := seriesQuery{rangeKey: "24h", span: spans["24h"], stat: statistics[0]}
	for i := range 25 {
		q.names = append(q.names, fmt.Sprintf("filler.%d", i))
	}
	q.names = append(q.names, "cpu.usage_percent", "thermal.zone_celsius", "memory.used_bytes", "load.average_1m", "disk.busy_percent",
		"network.receive_bytes_per_second", "network.transmit_bytes_per_second")
	return q
}

// BenchmarkSeries24h answers /api/series for 100 series over 24 hours, JSON
// included, from a file of a million rows.
func BenchmarkSeries24h(b *testing.B) {
	s := scenes[0]
	path := b.TempDir() + "/metrics.db"
	s.fill(b, path, time.Now())
	at := s.serveFile(b, path)
	q := dayOfHundred()
	reader, err := at.page.file.open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var c *chart
	before := cpuTime(b)
	for b.Loop() {
		if c, err = at.page.chart(b.Context(), reader, q); err != nil {
			b.Fatal(err)
		}
		if _, err := json.Marshal(c); err != nil {
			b.Fatal(err)
		}
	}
	cpu := (cpuTime(b) - before) / time.Duration(b.N)
	if cpu > targetSeries24h {
		b.Errorf("it cost %v of CPU, want at most %v", cpu, targetSeries24h)
	}
	b.ReportMetric(float64(cpu.Microseconds())/1000, "cpu-ms/op")
	b.ReportMetric(float64(len(c.Series)), "series")
	b.ReportMetric(float64(c.Points), "points")
	if len(c.Series) < 99 {
		b.Errorf("got %d series, want about 100", len(c.Series))
	}
}
