//go:build bench

package bench

import (
	"flag"
	"io"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var collectFor = flag.Duration("collect.for", 40*time.Second, "how long BenchmarkCollect measures")

// BenchmarkCollect is what collectord costs at a tick a second on this machine's
// own /proc and /sys, all interfaces and disks included, storing and syncing every
// ten seconds; beside node_exporter with the like collectors, scraped once a
// second half a second later, storing nothing.
func BenchmarkCollect(b *testing.B) {
	for b.Loop() {
		benchCollect(b)
	}
}

func benchCollect(b *testing.B) {
	d := newDevice(b, b.TempDir(), "durability: 10s",
		"collection: {interval: 1s}",
		"network: {exclude: []}",
		"disk: {allowed_devices: ['[hsv]d[a-z]+', 'nvme[0-9]+n[0-9]+', 'mmcblk[0-9]+', 'zram[0-9]+']}")
	exporter, scrape := startNodeExporter(b)
	collectord := d.collectord()
	collectord.WaitLine(testkit.WaitLimit, "collectord started")

	const warmUp = 3 // ticks: rates begin with the second one, buffers find their size
	halfPast := func(ahead time.Duration) time.Time {
		return time.Now().Add(ahead).Truncate(time.Second).Add(time.Second / 2)
	}
	for range warmUp {
		time.Sleep(time.Until(halfPast(time.Second)))
		scrape()
	}
	from := time.Now()
	ours, theirs, before := cpuTime(b, collectord.PID()), cpuTime(b, exporter.PID()), usage(b, collectord)
	scrapes := 0
	for time.Since(from) < *collectFor {
		time.Sleep(time.Until(halfPast(time.Second)))
		scrape()
		scrapes++
	}
	to := time.Now()
	ours, theirs = cpuTime(b, collectord.PID())-ours, cpuTime(b, exporter.PID())-theirs
	after, exporterUsage := usage(b, collectord), usage(b, exporter)
	d.stop(collectord)

	db := d.reader()
	const window = " FROM metric_rows WHERE timestamp_ms BETWEEN ? AND ?"
	ticks := float64(count(b, db, "SELECT count(DISTINCT timestamp_ms)"+window, from.UnixMilli(), to.UnixMilli()))
	rows := float64(count(b, db, "SELECT count(*)"+window, from.UnixMilli(), to.UnixMilli()))
	if ticks == 0 {
		b.Fatal("no ticks were stored")
	}
	r := report{
		ours: "collectord", peers: []string{"node_exporter"},
		title: "collecting and storing once a second",
	}
	r.add("CPU per tick", "ms/tick", float64(ours)/millis/ticks, "≤ 1.2", float64(theirs)/millis/float64(scrapes))
	r.add("resident memory", "MB", float64(after.RSS)/mega, "≤ 17", float64(exporterUsage.RSS)/mega)
	r.add("written", "B/sample", float64(after.WrittenBytes-before.WrittenBytes)/rows, "", none)
	r.add("series", "samples/tick", rows/ticks, "about 100", none)
	r.note("%.0f ticks, %d scrapes; written is write_bytes of /proc/PID/io, without the final checkpoint", ticks, scrapes)
	r.print(b)
}

// startNodeExporter starts it with the collectors that read what ours read. Each
// call of scrape reads its page once, over one connection.
func startNodeExporter(b *testing.B) (p *testkit.Proc, scrape func()) {
	b.Helper()
	const program = "prometheus-node-exporter" // Debian's package and its program
	path, err := exec.LookPath(program)
	if err != nil {
		b.Fatalf("%s is not on the PATH: run scripts/test-deps.sh once, then the benchmark again", program)
	}
	addr := testkit.FreeAddr(b)
	args := []string{
		"--web.listen-address=" + addr, "--web.disable-exporter-metrics", "--collector.disable-defaults",
		"--collector.filesystem.mount-points-exclude=^/.", "--collector.diskstats.device-exclude=^(loop|ram)[0-9]+$",
	}
	for _, name := range []string{
		"cpu", "cpufreq", "stat", "time", "meminfo", "loadavg", "pressure", "diskstats", "netdev", "filesystem",
		"thermal_zone", "hwmon", "uname", "os",
	} {
		args = append(args, "--collector."+name)
	}
	p = testkit.StartProc(b, testkit.Command{Path: path, Args: args})
	client := &http.Client{Timeout: 10 * time.Second}
	get := func() error {
		resp, err := client.Get("http://" + addr + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	testkit.Eventually(b, testkit.WaitLimit, "node_exporter to answer", get)
	return p, func() {
		if err := get(); err != nil {
			b.Fatal(err)
		}
	}
}
