package chunk

import (
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"belabox-metrics/shared/store"
)

// device makes rows like those of a small Linux machine: n series with a sample
// each at every tick. The mix is that of the catalogue: percentages with all
// digits of a division, byte counts in pages, counters that grow, loads,
// temperatures, frequencies.
func device(n, ticks int, step time.Duration) ([]store.Row, SeriesFunc) {
	names := []string{
		"cpu.usage_percent", "memory.used_bytes", "disk.read_bytes_total", "network.receive_bytes_total", "load.average_1m",
		"thermal.zone_celsius", "cpu.frequency_hertz", "network.receive_bytes_per_second", "filesystem.free_bytes", "system.uptime_seconds",
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	infos := make([]*store.SeriesInfo, n+1)
	state := make([]float64, n+1)
	for i := 1; i <= n; i++ {
		infos[i] = &store.SeriesInfo{
			ID: int64(i), Device: "belabox-1f9c2ab4", Name: names[i%len(names)],
			Tags: []store.Tag{{Name: "core", Value: fmt.Sprint(i / len(names))}},
		}
		state[i] = float64(rnd.IntN(1 << 30))
	}
	next := func(i, tick int) float64 {
		switch i % len(names) {
		case 0:
			return 100 * (1 - float64(900+rnd.IntN(70))/float64(980+rnd.IntN(40)))
		case 1:
			state[i] += float64(rnd.IntN(65)-32) * 4096
			return math.Trunc(state[i]/4096) * 4096
		case 2:
			if rnd.IntN(4) == 0 {
				state[i] += float64(rnd.IntN(200)) * 512
			}
			return state[i]
		case 3:
			state[i] += float64(rnd.IntN(200_000))
			return state[i]
		case 4:
			return float64(40+rnd.IntN(8)) / 100
		case 5:
			return float64(45_000+rnd.IntN(6)*100) / 1000
		case 6:
			return []float64{408e6, 1.2e9, 1.8e9}[rnd.IntN(3)]
		case 7:
			return float64(rnd.IntN(2_000_000)) / step.Seconds()
		case 8:
			if rnd.IntN(10) == 0 {
				state[i] -= 4096
			}
			return state[i]
		default:
			return float64(tick)*step.Seconds() + 12345.67
		}
	}
	rows := make([]store.Row, 0, n*ticks)
	start := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for tick := range ticks {
		ts := start.Add(time.Duration(tick) * step).UnixMilli()
		for i := 1; i <= n; i++ {
			rows = append(rows, store.Row{Key: store.PackKey(ts, int64(i)), Value: next(i, tick)})
		}
	}
	return rows, func(id int64) (*store.SeriesInfo, error) { return infos[id], nil }
}

// shapes are the sizes for which docs/victoriametrics-setup.md gives figures.
var shapes = []struct {
	name          string
	series, ticks int
}{
	{"50 series x 1", 50, 1},
	{"50 series x 3", 50, 3},
	{"100 series x 3", 100, 3},
	{"2500 series x 1", 2500, 1},
	{"100 series x 25", 100, 25},
	{"100 series x 1000", 100, 1000},
}

func BenchmarkBuild(b *testing.B) {
	for _, shape := range shapes {
		rows, series := device(shape.series, shape.ticks, 10*time.Second)
		created := time.UnixMilli(rows[len(rows)-1].Key.TimestampMS())
		builder := New(Config{MaxPast: 720 * time.Hour, MaxFuture: 47 * time.Hour})
		build := builder.Build
		if len(rows) > 2500 {
			build = builder.BuildCatchUp
		}
		b.Run(shape.name, func(b *testing.B) {
			var requests []*Request
			var err error
			b.ReportAllocs()
			for b.Loop() {
				if requests, _, _, err = build(rows, series, created, 0); err != nil {
					b.Fatal(err)
				}
			}
			bytes := 0
			for _, req := range requests {
				bytes += len(req.Gzip)
			}
			n := float64(len(rows))
			b.ReportMetric(float64(len(requests)), "requests")
			b.ReportMetric(float64(bytes)/n, "B/sample")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
		})
	}
}

// BenchmarkCompression compares gzip writers and levels on the same bodies.
func BenchmarkCompression(b *testing.B) {
	type writer interface {
		io.WriteCloser
		Reset(io.Writer)
	}
	writers := []struct {
		name string
		make func(level int) (writer, error)
	}{
		{"klauspost", func(level int) (writer, error) { return gzip.NewWriterLevel(nil, level) }},
		{"std", func(level int) (writer, error) { return stdgzip.NewWriterLevel(nil, level) }},
	}
	for _, shape := range shapes[1:] {
		if shape.series == 2500 {
			continue // many bodies like the first shape's
		}
		rows, series := device(shape.series, shape.ticks, 10*time.Second)
		body, err := newBuilder(Config{}).Rebuild(rows, series, time.Time{}, 0)
		if err != nil {
			b.Fatal(err)
		}
		text := unzip(b, body)
		for _, w := range writers {
			for _, level := range []int{1, 2, 6} {
				b.Run(fmt.Sprintf("%s/%s %d", shape.name, w.name, level), func(b *testing.B) {
					gz, err := w.make(level)
					if err != nil {
						b.Fatal(err)
					}
					var out bytes.Buffer
					for b.Loop() {
						out.Reset()
						gz.Reset(&out)
						if _, err := gz.Write(text); err != nil {
							b.Fatal(err)
						}
						if err := gz.Close(); err != nil {
							b.Fatal(err)
						}
					}
					n := float64(len(rows))
					b.ReportMetric(float64(out.Len())/n, "B/sample")
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
				})
			}
		}
	}
}
