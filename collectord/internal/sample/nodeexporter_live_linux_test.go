package sample

import (
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/config"
)

// comparison is two readings of ours, each between two of theirs.
type comparison struct {
	t             *testing.T
	before, after [2]page
	ours          [2]reading
	compared      map[string]int // checks by metric name
}

// value returns our second reading of a series, and notes that it was compared.
func (c *comparison) value(key string) float64 {
	name, _, _ := strings.Cut(key, "{")
	v, ok := c.ours[1].values[key].(float64)
	if !ok {
		c.t.Errorf("no sample of %s", key)
		return math.NaN()
	}
	c.compared[name]++
	return v
}

// rounding is what a quotient of five digits may be off, relatively.
const rounding = 5.0001e-5

func (c *comparison) within(key string, v, low, high float64) {
	low, high = low-rounding*math.Abs(low), high+rounding*math.Abs(high)
	if !(v >= low && v <= high) {
		c.t.Errorf("%s: %v is not within %v and %v", key, v, low, high)
	}
}

// counter: it only grows, so ours lies between theirs before and after.
func (c *comparison) counter(key, name string, labels ...string) {
	c.within(key, c.value(key), c.before[1].sum(name, labels...), c.after[1].sum(name, labels...))
}

// gauge: between theirs, give or take what it can do in between.
func (c *comparison) gauge(key string, slack float64, name string, labels ...string) {
	a, b := c.before[1].sum(name, labels...), c.after[1].sum(name, labels...)
	c.within(key, c.value(key), min(a, b)-slack, max(a, b)+slack)
}

// grown returns how much a counter of theirs grew between our two readings, at
// least and at most.
func (c *comparison) grown(name string, labels ...string) (least, most float64) {
	least = c.before[1].sum(name, labels...) - c.after[0].sum(name, labels...)
	most = c.after[1].sum(name, labels...) - c.before[0].sum(name, labels...)
	return max(0, least), most
}

// rate: what we say per second, times the seconds, is what theirs grew by.
func (c *comparison) rate(key, collector string, slack float64, name string, labels ...string) {
	seconds := c.ours[1].at[collector].Sub(c.ours[0].at[collector]).Seconds()
	least, most := c.grown(name, labels...)
	v := c.value(key) * seconds
	c.within(key+" × seconds", v, least-slack, most+slack)
}

// share: a percentage of the time that part and the rest took together. A tick
// of each counter is lost to rounding.
func (c *comparison) share(key string, part, rest []string, labels ...string) {
	const tick = 0.01 // seconds, USER_HZ
	slack := tick * float64(runtime.NumCPU())
	total := func(modes []string) (least, most float64) {
		for _, mode := range modes {
			l, m := c.grown("node_cpu_seconds_total", append(labels, `mode="`+mode+`"`)...)
			least, most = least+max(0, l-slack), most+m+slack
		}
		return least, most
	}
	partLeast, partMost := total(part)
	restLeast, restMost := total(rest)
	c.within(key, c.value(key), 100*partLeast/(partLeast+restMost)-1e-6, 100*partMost/(partMost+restLeast)+1e-6)
}

// TestAgainstNodeExporter compares on this machine, under load.
func TestAgainstNodeExporter(t *testing.T) {
	flags := []string{
		"--collector.disable-defaults", "--collector.netdev.device-exclude=^$",
		"--collector.filesystem.mount-points-exclude=^/.", // see newLive
	}
	for _, name := range []string{"cpu", "stat", "time", "meminfo", "loadavg", "pressure", "diskstats", "netdev", "netclass", "filesystem"} {
		flags = append(flags, "--collector."+name)
	}
	scrape := startNodeExporter(t, flags...)
	collectors := newLive(t, networkConfig(func(c *config.NetworkConfig) { c.Exclude = nil }))
	c := &comparison{t: t, compared: map[string]int{}}
	for i := range 2 {
		if i == 1 {
			makeLoad(t, 1200*time.Millisecond)
		}
		c.before[i] = scrape()
		c.ours[i] = readAll(t, collectors)
		c.after[i] = scrape()
	}

	busy := []string{"user", "nice", "system", "irq", "softirq", "steal"}
	c.share(`cpu.usage_percent{"core":"all"}`, busy, []string{"idle", "iowait"})
	c.share("cpu.iowait_percent", []string{"iowait"}, append(busy, "idle"))
	c.share("cpu.steal_percent", []string{"steal"}, append(busy[:5:5], "idle", "iowait"))
	c.each("cpu.usage_percent", "core", func(core string) {
		if core != "all" {
			c.share(`cpu.usage_percent{"core":"`+core+`"}`, busy, []string{"idle", "iowait"}, `cpu="`+core+`"`)
		}
	})
	c.counter("system.context_switches_total", "node_context_switches_total")
	const threads = 32 // that may begin or end to run in between
	c.gauge("system.processes_running", threads, "node_procs_running")
	c.gauge("system.processes_blocked", threads, "node_procs_blocked")
	// Ours is looked up again only when the clock was set by a second or more.
	c.gauge("system.boot_time_seconds", 1, "node_boot_time_seconds")
	up := c.value("system.uptime_seconds")
	c.within("system.uptime_seconds", up, // theirs is the wall clock minus a whole second
		c.before[1].sum("node_time_seconds")-c.before[1].sum("node_boot_time_seconds")-1.01,
		c.after[1].sum("node_time_seconds")-c.after[1].sum("node_boot_time_seconds")+1.01)
	c.gauge("load.average_1m", 0, "node_load1")
	c.gauge("load.average_5m", 0, "node_load5")
	c.gauge("load.average_15m", 0, "node_load15")
	c.memory()
	c.pressure()
	c.disks()
	c.networks()
	c.filesystems()

	if v := c.value(`cpu.usage_percent{"core":"all"}`); v < 20 {
		t.Errorf("usage %v %%: the machine was not loaded", v)
	}
	if v := c.value(`network.receive_bytes_per_second{"interface":"lo"}`); v < 1e6 {
		t.Errorf("%v bytes per second on lo: the machine was not loaded", v)
	}
	c.leftOver()
}

func (c *comparison) memory() {
	total := c.before[1].sum("node_memory_MemTotal_bytes")
	c.gauge("memory.total_bytes", 0, "node_memory_MemTotal_bytes")
	c.gauge("memory.swap_total_bytes", 0, "node_memory_SwapTotal_bytes")
	// Other processes take and give back within milliseconds.
	slack := total / 50
	c.gauge("memory.available_bytes", slack, "node_memory_MemAvailable_bytes")
	used, swap := c.value("memory.used_bytes"), c.value("memory.swap_used_bytes")
	c.within("memory.used_bytes", used, total-c.after[1].sum("node_memory_MemAvailable_bytes")-slack, total-c.after[1].sum("node_memory_MemAvailable_bytes")+slack)
	theirs := c.after[1].sum("node_memory_SwapTotal_bytes") - c.after[1].sum("node_memory_SwapFree_bytes")
	c.within("memory.swap_used_bytes", swap, theirs-slack, theirs+slack)
}

func (c *comparison) pressure() {
	for key, name := range map[string]string{
		"pressure.cpu_some_percent":    "node_pressure_cpu_waiting_seconds_total",
		"pressure.memory_some_percent": "node_pressure_memory_waiting_seconds_total",
		"pressure.memory_full_percent": "node_pressure_memory_stalled_seconds_total",
		"pressure.io_some_percent":     "node_pressure_io_waiting_seconds_total",
		"pressure.io_full_percent":     "node_pressure_io_stalled_seconds_total",
	} {
		if math.IsNaN(c.after[1].sum(name)) {
			continue // this kernel has none; then a sample of ours is left over
		}
		seconds := c.ours[1].at["pressure"].Sub(c.ours[0].at["pressure"]).Seconds()
		least, most := c.grown(name)
		// A stall that lasts is cut at 100; a reading a little late is not.
		v := c.value(key) / 100 * seconds
		c.within(key+" in seconds", v, min(least, seconds)-1e-5, most+1e-5)
	}
}

// each calls check for each value of a label that we have series of.
func (c *comparison) each(metric, label string, check func(value string)) {
	for key := range c.ours[1].values {
		if rest, ok := strings.CutPrefix(key, metric+`{"`+label+`":"`); ok {
			check(strings.TrimSuffix(rest, `"}`))
		}
	}
}

func (c *comparison) disks() {
	c.each("disk.reads_total", "device", func(device string) {
		l, k := `device="`+device+`"`, `{"device":"`+device+`"}`
		for ours, theirs := range map[string]string{
			"read_bytes":    "read_bytes_total",
			"written_bytes": "written_bytes_total",
			"reads":         "reads_completed_total",
			"writes":        "writes_completed_total",
		} {
			c.counter("disk."+ours+"_total"+k, "node_disk_"+theirs, l)
			c.rate("disk."+ours+"_per_second"+k, "disk", 1e-3, "node_disk_"+theirs, l)
		}
		// Both readings are of the kernel's own clock, which ticks each 1 to 10 ms.
		seconds := c.ours[1].at["disk"].Sub(c.ours[0].at["disk"]).Seconds()
		least, most := c.grown("node_disk_io_time_seconds_total", l)
		c.within("disk.busy_percent in seconds", c.value("disk.busy_percent"+k)/100*seconds, min(least, seconds)-0.02, most+0.02)
	})
}

func (c *comparison) networks() {
	c.each("network.receive_bytes_total", "interface", func(name string) {
		l, k := `device="`+name+`"`, `{"interface":"`+name+`"}`
		for _, way := range []string{"receive", "transmit"} {
			for ours, theirs := range map[string]string{"bytes": "bytes", "packets": "packets", "errors": "errs", "drops": "drop"} {
				c.counter("network."+way+"_"+ours+"_total"+k, "node_network_"+way+"_"+theirs+"_total", l)
			}
			for _, what := range []string{"bytes", "packets"} {
				c.rate("network."+way+"_"+what+"_per_second"+k, "network", 1e-3, "node_network_"+way+"_"+what+"_total", l)
			}
		}
	})
	c.each("network.up", "interface", func(name string) {
		c.gauge(`network.up{"interface":"`+name+`"}`, 0, "node_network_up", `device="`+name+`"`)
	})
	c.each("network.carrier_changes_total", "interface", func(name string) {
		c.counter(`network.carrier_changes_total{"interface":"`+name+`"}`, "node_network_carrier_changes_total", `device="`+name+`"`)
	})
	// Read in the first tick of a minute.
	c.each("network.speed_bytes_per_second", "interface", func(name string) {
		c.gauge(`network.speed_bytes_per_second{"interface":"`+name+`"}`, 0, "node_network_speed_bytes", `device="`+name+`"`)
	})
}

func (c *comparison) filesystems() {
	const slack, files = 256 << 20, 10_000 // what others write and delete in between
	for key := range c.ours[1].values {
		rest, ok := strings.CutPrefix(key, `filesystem.size_bytes{"fstype":"`)
		if !ok {
			continue
		}
		fstype, point, _ := strings.Cut(strings.TrimSuffix(rest, `"}`), `","mountpoint":"`)
		k := strings.TrimPrefix(key, "filesystem.size_bytes")
		labels := []string{`fstype="` + fstype + `"`, `mountpoint="` + point + `"`}
		c.gauge("filesystem.size_bytes"+k, 0, "node_filesystem_size_bytes", labels...)
		c.gauge("filesystem.free_bytes"+k, slack, "node_filesystem_free_bytes", labels...)
		c.gauge("filesystem.available_bytes"+k, slack, "node_filesystem_avail_bytes", labels...)
		if c.ours[1].values["filesystem.files_free"+k] != nil {
			c.gauge("filesystem.files_free"+k, files, "node_filesystem_files_free", labels...)
		}
	}
}

// leftOver fails for each number that we have and that was not compared, apart
// from those that node_exporter does not have.
func (c *comparison) leftOver() {
	only := map[string]bool{
		"disk.sector_size_bytes": true, "disk.physical_sector_size_bytes": true,
		"network.interfaces_dropped_total": true, "network.default_route": true,
		"wireless.link_quality": true, "wireless.signal_dbm": true, "wireless.noise_dbm": true,
		// Compared on a fixture: what these say may change too much in between.
		"thermal.zone_celsius": true, "hwmon.temp_celsius": true, "cpu.frequency_hertz": true,
	}
	for key, v := range c.ours[1].values {
		name, _, _ := strings.Cut(key, "{")
		if _, number := v.(float64); number && c.compared[name] == 0 && !only[name] {
			c.t.Errorf("%s was not compared: compare it, or add it to the names above", key)
		}
	}
	n := 0
	for _, times := range c.compared {
		n += times
	}
	c.t.Logf("%d comparisons of %d metrics", n, len(c.compared))
}

// makeLoad keeps all cores, the loopback interface and a disk busy for d.
func makeLoad(t *testing.T, d time.Duration) {
	t.Helper()
	deadline := time.Now().Add(d)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for time.Now().Before(deadline) {
			}
		})
	}
	file := filepath.Join(t.TempDir(), "load")
	wg.Go(func() {
		for block := make([]byte, 1<<20); time.Now().Before(deadline); {
			if err := writeSynced(file, block); err != nil {
				t.Error(err)
				return
			}
		}
	})
	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	wg.Go(func() {
		sender, err := net.Dial("udp", receiver.LocalAddr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer sender.Close()
		for packet := make([]byte, 8<<10); time.Now().Before(deadline); {
			if _, err := sender.Write(packet); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Wait()
}

// writeSynced writes a file down to the disk.
func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}
