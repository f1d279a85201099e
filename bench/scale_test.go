//go:build bench

package bench

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

var (
	scaleRows   = flag.Int("scale.rows", 30_000_000, "rows in the largest file of BenchmarkScale; the others have a tenth and a hundredth")
	scaleSeries = flag.Int("scale.series", 5000, "series of BenchmarkScale, in a textfile")
	scaleFor    = flag.Duration("scale.for", 95*time.Second, "how long BenchmarkScale runs the daemons on each file")
)

// scaleInterval is the default collection.interval.
const scaleInterval = 10 * time.Second

// BenchmarkScale is what a device of 5,000 series costs with a file of 300,000, of 3 million and of
// 30 million rows, which is a day at the default interval and more. The ratios show what grows with
// the file.
func BenchmarkScale(b *testing.B) {
	for b.Loop() {
		large, middle, small := scale(b, *scaleRows), scale(b, *scaleRows/10), scale(b, *scaleRows/100)
		r := report{
			ours: fmt.Sprint(*scaleRows), peers: []string{fmt.Sprint(*scaleRows / 10), fmt.Sprint(*scaleRows / 100)},
			title: fmt.Sprintf("%d series every %v, by rows in the file", *scaleSeries, scaleInterval),
		}
		line := func(name, unit string, of func(scaleCost) float64) {
			r.add(name, unit, of(large), "", of(middle), of(small))
		}
		ms := func(d time.Duration) float64 { return float64(d) / millis }
		line("file", "MB-file", func(c scaleCost) float64 { return float64(c.file) / mega })
		line("draining it, CPU of shipperd", "s/million", func(c scaleCost) float64 { return c.drainCPU.Seconds() / float64(c.rows) * mega })
		line("peak memory of that", "MB-drain", func(c scaleCost) float64 { return float64(c.drainRSS) / mega })
		line("CPU of collectord, a tick", "ms/tick", func(c scaleCost) float64 { return ms(c.tick) })
		line("CPU of shipperd to its first upload", "ms-first", func(c scaleCost) float64 { return ms(c.first) })
		line("CPU of shipperd, as often from then on", "ms-ship/tick", func(c scaleCost) float64 { return ms(c.cycle) })
		line("collectord after a kill", "ms-collectord", func(c scaleCost) float64 { return ms(c.startCollectord) })
		line("shipperd after a kill", "ms-shipperd", func(c scaleCost) float64 { return ms(c.startShipperd) })
		line("page, /api/status", "ms-page", func(c scaleCost) float64 { return ms(c.page) })
		line("page, a chart of 24 h", "ms-chart", func(c scaleCost) float64 { return ms(c.chart) })
		line("shipperd status", "ms-status", func(c scaleCost) float64 { return ms(c.status) })
		line("shipperd audit, CPU", "s-audit/million", func(c scaleCost) float64 { return c.auditCPU.Seconds() / float64(c.rows) * mega })
		line("peak memory of that", "MB-audit", func(c scaleCost) float64 { return float64(c.auditRSS) / mega })
		r.note("the first start includes a check of the file, for two seconds at most; a tick has some 100 series of the board beside those of the textfile")
		r.print(b)
	}
}

type scaleCost struct {
	rows, file                     int64
	drainCPU, tick, first, cycle   time.Duration
	startCollectord, startShipperd time.Duration
	page, chart, status, auditCPU  time.Duration
	drainRSS, auditRSS             int64
}

var addressInLog = regexp.MustCompile(`127\.0\.0\.1:\d+`)

func scale(b *testing.B, rows int) (c scaleCost) {
	dir := b.TempDir()
	vm := testkit.StartVM(b, testkit.VMConfig{})
	textfiles := filepath.Join(dir, "textfile")
	if err := os.Mkdir(textfiles, 0o755); err != nil {
		b.Fatal(err)
	}
	d := newDevice(b, dir, "max_size_mb: 8192, retention: 48h",
		"remote: {url: '"+vm.URL()+"/api/v1/import', verify: {delay: 15s, settle: 15s}}",
		fmt.Sprintf("collection: {textfile: {directory: %s, max_series: %d}}", textfiles, *scaleSeries))

	// The past: the same series as the textfile will have, a value that moves a little.
	samples := make([]store.Sample, *scaleSeries)
	for i := range samples {
		samples[i].Series = store.NewSeries(deviceID, "scale_value", store.Number, store.Tag{Name: "item", Value: strconv.Itoa(i)})
	}
	in := d.inserter(time.Hour)
	ticks := rows / len(samples)
	ts := time.Now().Add(-drainAge - time.Duration(ticks)*scaleInterval).Truncate(scaleInterval)
	for tick := range ticks {
		ts = ts.Add(scaleInterval)
		for i := range samples {
			samples[i].Value = float64((tick*7 + i*13) % 1000)
		}
		if _, err := in.Insert(b.Context(), ts, samples); err != nil {
			b.Fatal(err)
		}
		if tick%100 == 0 { // the WAL stays small, as collectord keeps it
			if _, err := in.Checkpoint(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	d.close(in)
	c.rows, c.file = int64(ticks*len(samples)), store.FileSize(d.db)

	run := func(args ...string) (wall, cpu time.Duration, peak int64) {
		start := time.Now()
		p := d.shipperd(args...)
		for ended := false; !ended; {
			select {
			case <-p.Done():
				ended = true
			case <-time.After(20 * time.Millisecond):
				if u, err := p.Usage(); err == nil {
					peak = u.PeakRSS
				}
			}
		}
		if p.ExitCode() != 0 {
			b.Fatalf("shipperd %v: exit code %d:\n%s", args, p.ExitCode(), p.Stderr())
		}
		return time.Since(start), p.CPUTime(), peak
	}
	_, c.drainCPU, c.drainRSS = run("-once")

	write := func(n int) {
		var text bytes.Buffer
		text.WriteString("# TYPE scale_value gauge\n")
		for i := range *scaleSeries {
			fmt.Fprintf(&text, "scale_value{item=\"%d\"} %d\n", i, (n*7+i*13)%1000)
		}
		temporary := filepath.Join(textfiles, "scale.new")
		if err := os.WriteFile(temporary, text.Bytes(), 0o644); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(temporary, filepath.Join(textfiles, "scale.prom")); err != nil {
			b.Fatal(err)
		}
	}
	write(0)
	const first, started = "collectord started", "shipperd started"
	collectord, shipperd := d.collectord(), d.shipperd()
	collectord.WaitLine(testkit.WaitLimit, first)
	shipperd.WaitLine(testkit.WaitLimit, started)
	collectord.Kill()
	shipperd.Kill()
	collectord.Wait(testkit.WaitLimit)
	shipperd.Wait(testkit.WaitLimit)
	begin := time.Now()
	collectord = d.collectord()
	health := addressInLog.FindString(collectord.WaitLine(testkit.WaitLimit, first))
	c.startCollectord, begin = time.Since(begin), time.Now()
	shipperd = d.shipperd()
	shipperd.WaitLine(testkit.WaitLimit, started)
	c.startShipperd = time.Since(begin)

	db := d.reader()
	newest := func() int64 {
		return count(b, db, "SELECT coalesce(max(dedup_key), 0) >> 22 FROM metrics")
	}
	// The first upload reads the file from its beginning where the check at the start ran out of
	// time.
	had := newest()
	testkit.Eventually(b, testkit.WaitLimit, "the first upload", func() bool {
		return newest() > had && count(b, db, "SELECT coalesce(max(last_key), 0) >> 22 FROM upload_checkpoints WHERE state <> 'sending'") > had
	})
	c.first = cpuTime(b, shipperd.PID())
	collectBefore, shipBefore, before := cpuTime(b, collectord.PID()), cpuTime(b, shipperd.PID()), newest()
	for start, n := time.Now(), 1; time.Since(start) < *scaleFor; n++ {
		write(n)
		time.Sleep(scaleInterval)
	}
	measured := time.Duration(newest()-before) * time.Millisecond
	perTick := func(d time.Duration) time.Duration {
		return time.Duration(float64(d) / (float64(measured) / float64(scaleInterval)))
	}
	c.tick, c.cycle = perTick(cpuTime(b, collectord.PID())-collectBefore), perTick(cpuTime(b, shipperd.PID())-shipBefore)

	get := func(path string) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			resp, err := http.Get("http://" + health + path)
			if err != nil {
				b.Fatal(err)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatalf("%s: %s: %v", path, resp.Status, err)
			}
			best = min(best, time.Since(start))
			time.Sleep(1100 * time.Millisecond) // answers are kept for a second
		}
		return best
	}
	c.page, c.chart = get("/api/status"), get("/api/series?name=scale_value&range=24h")
	c.status, _, _ = run("status")
	_, c.auditCPU, c.auditRSS = run("audit")
	d.stop(collectord)
	d.stop(shipperd)
	return c
}
