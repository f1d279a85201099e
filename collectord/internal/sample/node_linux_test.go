package sample

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// nodeConfig returns cfg with node_exporter's names, which have all devices.
func nodeConfig(cfg *config.Config) *config.Config {
	cfg.Collection.NodeExporter.Enabled = true
	cfg.Network.Exclude = nil
	cfg.Disk.AllowedDevices = []string{".*"}
	return cfg
}

// nodeKey writes a series as node_exporter does, and returns "" for one that is ours.
func nodeKey(t *testing.T, s *store.Series) string {
	t.Helper()
	if !strings.HasPrefix(s.Name, "node_") {
		return ""
	}
	tags := map[string]string{}
	if err := json.Unmarshal([]byte(s.Tags), &tags); err != nil {
		t.Fatal(err)
	}
	if tags["job"] != "node" || tags["instance"] != "dev:9100" {
		t.Errorf("%s has the labels %s", s.Name, s.Tags)
	}
	delete(tags, "job")
	delete(tags, "instance")
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		labels = append(labels, name+"="+strconv.Quote(tags[name]))
	}
	if len(labels) == 0 {
		return s.Name
	}
	return s.Name + "{" + strings.Join(labels, ",") + "}"
}

// readNode returns what is node_exporter's of one tick.
func readNode(t *testing.T, collectors []Collector) page {
	t.Helper()
	p := page{}
	var b Batch
	for _, c := range collectors {
		b.Begin(time.Now(), nil)
		if err := c.Collect(time.Now(), &b); err != nil {
			t.Logf("%s: %v", c.Name(), err)
		}
		for _, s := range b.Samples {
			if key := nodeKey(t, s.Series); key != "" {
				if _, twice := p[key]; twice {
					t.Errorf("%s twice in one tick", key)
				}
				p[key] = s.Value
			}
		}
	}
	return p
}

// newerNames are of later versions than the 1.5 of Debian, with which these tests compare.
var newerNames = []string{"node_netstat_TcpExt_TCPOFOQueue", "node_netstat_TcpExt_TCPRcvQDrop"}

func name(series string) string {
	name, _, _ := strings.Cut(series, "{")
	return name
}

// sameSeries fails for each series that only one of two pages has, among the names that ours has.
func sameSeries(t *testing.T, ours, theirs page, without func(series string) bool) {
	t.Helper()
	names := map[string]bool{}
	for series := range ours {
		names[name(series)] = true
		if _, there := theirs[series]; !there && !slices.Contains(newerNames, name(series)) {
			t.Errorf("node_exporter has no %s", series)
		}
	}
	for series := range theirs {
		if _, there := ours[series]; !there && names[name(series)] && !without(series) {
			t.Errorf("we have no %s", series)
		}
	}
	t.Logf("%d series of %d names", len(ours), len(names))
}

// TestNode_Fixture compares where nothing changes: all values are the same.
func TestNode_Fixture(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588", "node-files")
	fs := m.fs()
	flags := []string{
		"--path.procfs=" + fs.Proc, "--path.sysfs=" + fs.Sys, "--collector.disable-defaults", "--no-collector.netdev.netlink",
		"--collector.netdev.device-exclude=^$", "--collector.diskstats.device-exclude=^$",
	}
	for _, group := range []string{
		"cpu", "cpufreq", "diskstats", "entropy", "filefd", "hwmon", "loadavg", "meminfo", "netclass", "netdev", "netstat",
		"powersupplyclass", "pressure", "schedstat", "sockstat", "softnet", "stat", "thermal_zone", "vmstat", "conntrack",
	} {
		flags = append(flags, "--collector."+group)
	}
	theirs := startNodeExporter(t, flags...)()
	cfg := config.Default()
	cfg.Collection.NodeExporter.Exclude = []string{"filesystem", "time", "timex", "uname"} // of this machine
	collectors, err := New(nodeConfig(readingTree(&cfg, fs)), "dev")
	if err != nil {
		t.Fatal(err)
	}
	ours := readNode(t, collectors)
	sameSeries(t, ours, theirs, func(series string) bool {
		return strings.HasPrefix(series, "node_network_speed_bytes") && theirs[series] < 0 || // which is "unknown"
			theirs[series] > 1000 && strings.HasPrefix(series, "node_hwmon_temp_max_celsius") || // "no limit"
			strings.Contains(series, `sensor="temp0"`) || // the zone behind the chip, once more
			strings.Contains(series, `chip_name="pwmfan"`) // a chip without a sensor
	})
	doc, err := os.ReadFile("../../../docs/from-node-exporter.md")
	if err != nil {
		t.Fatal(err)
	}
	families := regexp.MustCompile(`^node_(memory|netstat|sockstat|hwmon_(temp|in|fan|curr|power))_`) // described, not listed
	for series, got := range ours {
		if name := name(series); !families.MatchString(name) && !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("%s is not in docs/from-node-exporter.md", name)
		}
		want, there := theirs[series]
		if there && !(math.Abs(got-want) <= 1e-12*math.Abs(want)) { // theirs multiplies where we divide
			t.Errorf("%s: ours %v, theirs %v", series, got, want)
		}
	}
}

// emulated gives the machine's name the value that it has in ours.
func (p page) emulated(ours page) {
	const unameInfo = "node_uname_info"
	machine := regexp.MustCompile(`machine="[^"]*"`)
	for theirs, value := range maps.Clone(p) {
		for series := range ours {
			if name(theirs) == unameInfo && name(series) == unameInfo {
				delete(p, theirs)
				p[machine.ReplaceAllLiteralString(theirs, machine.FindString(series))] = value
			}
		}
	}
}

// TestNode_Live compares on this machine, where everything changes: theirs is between two of ours.
func TestNode_Live(t *testing.T) {
	cfg := nodeConfig(only("cpu", "memory", "load", "pressure", "network", "disk", "link", "filesystem"))
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	collectors, err := New(cfg, "dev")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range collectors { // of all mounts only that of the root, see newLive
		if c.Name() == "filesystem" {
			m := newMachine(t)
			for line := range strings.Lines(string(mounts)) {
				if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "/" {
					m.write("proc/self/mounts", line)
				}
			}
			collectors[i] = NewFilesystem(m.fs(), &Registry{Device: "dev", Node: newNode(cfg, "dev")})
		}
	}
	scrape := startNodeExporter(t, "--collector.netdev.device-exclude=^$", "--collector.diskstats.device-exclude=^$", "--collector.filesystem.mount-points-exclude=^/.")
	first := readNode(t, collectors)
	theirs := scrape()
	second := readNode(t, collectors)
	if os.Getenv(testkit.EmulatorVar) != "" { // it tells us of another machine
		theirs.emulated(first)
	}
	sameSeries(t, first, theirs, func(series string) bool {
		return strings.HasPrefix(series, "node_network_speed_bytes") && theirs[series] < 0
	})
	total := theirs["node_memory_MemTotal_bytes"]
	// What gauges do in between.
	slack := func(series string) float64 {
		switch name := name(series); {
		case strings.HasPrefix(name, "node_memory_"):
			return total / 20
		case strings.HasSuffix(name, "_total"), name == "node_time_seconds":
			return 0
		case strings.HasPrefix(name, "node_filesystem_") && strings.HasSuffix(name, "_bytes"):
			return 1 << 30
		case strings.HasPrefix(name, "node_filesystem_files"), strings.HasPrefix(name, "node_nf_"),
			strings.HasPrefix(name, "node_sockstat_"), name == "node_filefd_allocated":
			return 20_000
		case strings.HasPrefix(name, "node_procs_"), name == "node_disk_io_now", strings.HasSuffix(name, "CurrEstab"), name == "node_entropy_available_bits":
			return 1000
		case strings.HasPrefix(name, "node_timex_"), strings.HasPrefix(name, "node_load"):
			return 1
		}
		return 0
	}
	for series, a := range first {
		want, there := theirs[series]
		b, again := second[series]
		if !there || !again { // once a minute
			continue
		}
		low, high := min(a, b)-slack(series), max(a, b)+slack(series)
		if rounding := 1e-12 * math.Abs(want); !(want >= low-rounding && want <= high+rounding) {
			t.Errorf("%s: theirs %v, ours %v before and %v after", series, want, a, b)
		}
	}
}

// TestNode_Groups leaves out each group, and sees that only its series are gone.
func TestNode_Groups(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588", "node-files")
	read := func(exclude ...string) page {
		cfg := config.Default()
		cfg.Collection.Collectors = map[string]config.CollectorConfig{}
		cfg.Collection.NodeExporter.Exclude = exclude
		collectors, err := New(nodeConfig(readingTree(&cfg, m.fs())), "dev")
		if err != nil {
			t.Fatal(err)
		}
		collectors = slices.DeleteFunc(collectors, func(c Collector) bool { return c.Name() == "filesystem" }) // of this machine
		p := readNode(t, collectors)
		delete(p, "up")
		return p
	}
	all := read()
	left := len(all)
	for _, group := range config.NodeExporterGroups() {
		some := read(group)
		if n := len(all) - len(some); n == 0 && group != "filesystem" {
			t.Errorf("without %s: as many series", group)
		} else {
			left -= n
		}
		for series := range some {
			if _, there := all[series]; !there {
				t.Errorf("without %s there is %s", group, series)
			}
		}
	}
	if left != 0 {
		t.Errorf("%d series are in no group", left)
	}
	if none := read(config.NodeExporterGroups()...); len(none) > 0 {
		t.Errorf("without all groups there are %d series", len(none))
	}
}

// TestNode_Impossible sees that what cannot be is not passed on, and what goes back a little stays.
func TestNode_Impossible(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588")
	cfg := readingTree(only("cpu", "memory", "network", "disk"), m.fs())
	collectors, err := New(nodeConfig(cfg), "dev")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	read := func() page {
		p := page{}
		at = at.Add(time.Second)
		for _, c := range collectors {
			for key, v := range collectAt(t, c, at).values {
				if strings.HasPrefix(key, "node_") {
					p[name(key)] = v // of several the last
				}
			}
		}
		return p
	}
	stat := func(idle, iowait, steal string) {
		m.write("proc/stat", "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 500 1 1 "+idle+" "+iowait+" 1 1 "+steal+" 0 0\nctxt 7\nbtime 1\nprocesses -3\nprocs_running 1\nprocs_blocked 0\n")
	}
	mode := func(mode string) float64 {
		var b Batch
		b.Begin(at, nil)
		if err := collectors[0].Collect(at, &b); err != nil {
			t.Fatal(err)
		}
		for _, s := range b.Samples {
			if s.Series.Name == "node_cpu_seconds_total" && strings.Contains(s.Series.Tags, `"mode":"`+mode+`"`) {
				return s.Value
			}
		}
		return math.NaN()
	}
	stat("100000", "900", "10")
	at = at.Add(time.Second)
	if v := mode("iowait"); v != 9 {
		t.Errorf("iowait %v, want 9", v)
	}
	at = at.Add(time.Second)
	stat("100100", "890", "18446744073709551000")
	if v := mode("iowait"); v != 9 {
		t.Errorf("iowait that went back a little: %v, want 9 still", v)
	}
	if v := mode("steal"); !math.IsNaN(v) {
		t.Errorf("negative steal: %v", v)
	}
	at = at.Add(time.Second)
	stat("1000000", "890", "20")
	if v := mode("idle"); !math.IsNaN(v) {
		t.Errorf("hours without work in a second: %v", v)
	}
	at = at.Add(time.Second)
	stat("200", "1", "20")
	if v := mode("idle"); v != 2 {
		t.Errorf("a reset: %v, want 2", v)
	}
	m.write("proc/meminfo", "MemTotal: 100 kB\nMemFree: 200 kB\nMemAvailable: 50 kB\nBuffers: -4 kB\nSwapTotal: 10 kB\nSwapFree: 20 kB\nHugePages_Total: 3\nNew(thing): 5 kB\nActive: 12")
	m.write("proc/diskstats", "8 0 sda 1 2 3 4 5 6 7 8 9 10 11")
	p := read()
	for name, want := range map[string]float64{
		"node_memory_MemTotal_bytes": 100 << 10, "node_memory_MemAvailable_bytes": 50 << 10, "node_memory_HugePages_Total": 3,
		"node_memory_New_thing_bytes": 5 << 10, "node_memory_SwapTotal_bytes": 10 << 10, "node_context_switches_total": 7,
	} {
		if p[name] != want {
			t.Errorf("%s: %v, want %v", name, p[name], want)
		}
	}
	for _, name := range []string{
		"node_memory_MemFree_bytes", "node_memory_Buffers_bytes", "node_memory_SwapFree_bytes", "node_memory_Active_bytes", "node_forks_total",
		"node_disk_reads_completed_total", // digits may be missing behind a line without its end
	} {
		if v, there := p[name]; there {
			t.Errorf("%s: %v", name, v)
		}
	}
}

// TestNode_Labels are those of the device, and job and instance.
func TestNode_Labels(t *testing.T) {
	t.Parallel()
	f := func(change func(*config.Config), want string) {
		t.Helper()
		cfg := config.Default()
		cfg.Collection.NodeExporter.Enabled = true
		change(&cfg)
		if got := newNode(&cfg, "box").series("up").Tags; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(func(*config.Config) {}, `{"instance":"box:9100","job":"node"}`)
	f(func(c *config.Config) {
		c.Device.Labels = map[string]string{"job": "fleet", "instance": "a", "site": "x"}
	}, `{"instance":"a","job":"fleet","site":"x"}`)
	f(func(c *config.Config) {
		c.Device.Labels = map[string]string{"job": "fleet"}
		c.Collection.NodeExporter.Job, c.Collection.NodeExporter.Instance = "node-exporter", "b:1"
	}, `{"instance":"b:1","job":"node-exporter"}`)
	off := config.Default()
	if newNode(&off, "box") != nil {
		t.Error("there are series that are off")
	}
}
