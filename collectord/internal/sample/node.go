package sample

import (
	"bytes"
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// Node makes the series of node_exporter: its names and labels, which dashboards and alerts ask
// for. Each collector adds those that its files have to its own samples, so that one reading gives
// both; nodeFiles reads the files that nothing else needs. Names and labels are those of
// node_exporter's own documentation: https://github.com/prometheus/node_exporter
type Node struct {
	device  string
	tags    []store.Tag // device.labels, job and instance
	exclude []string    // groups, which have the names of node_exporter's collectors
}

// newNode returns nil if the configuration has it off.
func newNode(cfg *config.Config, device string) *Node {
	c := &cfg.Collection.NodeExporter
	if !c.Enabled {
		return nil
	}
	n := &Node{device: device, exclude: c.Exclude}
	for name, value := range cfg.Device.Labels {
		n.tags = append(n.tags, store.Tag{Name: name, Value: value})
	}
	n.tags = append(n.tags, // of two equal names the last wins
		store.Tag{Name: "job", Value: cmp.Or(c.Job, cfg.Device.Labels["job"], "node")},
		store.Tag{Name: "instance", Value: cmp.Or(c.Instance, cfg.Device.Labels["instance"], device+":9100")})
	return n
}

// node returns what makes the series of a group, nil if they are not wanted.
func (r *Registry) node(group string) *Node {
	if r.Node == nil || slices.Contains(r.Node.exclude, group) {
		return nil
	}
	return r.Node
}

// series makes a series. labels are names and values in turn; values may be any bytes.
func (n *Node) series(name string, labels ...string) *Series {
	tags := slices.Clone(n.tags)
	parts := []string{name}
	for i := 0; i < len(labels); i += 2 {
		value := labelText(labels[i+1])
		tags = append(tags, store.Tag{Name: labels[i], Value: value})
		parts = append(parts, value)
	}
	return &Series{
		Series:   store.NewSeries(n.device, name, store.Number, tags...),
		parts:    parts,
		possible: metrics.Range{Min: -1 << 63, Max: 1 << 63},
		growth:   nodeGrowth(name),
		per:      1,
	}
}

// nodeGrowth is by how much a counter of node_exporter's can grow in a second: one clock by little
// more than that second, anything else by what is most of all.
func nodeGrowth(name string) float64 {
	switch {
	case strings.HasPrefix(name, "node_cpu_") && strings.HasSuffix(name, "_seconds_total"),
		strings.HasPrefix(name, "node_pressure_"), name == "node_disk_io_time_seconds_total":
		return 1.5
	case strings.HasSuffix(name, "_total"):
		return unitRanges["bytes per second"].Max
	}
	return 0
}

// twins are the series of node_exporter's that have the values of ours: the group, the name, and a
// label for each of ours, of whose value a prefix is cut off.
var twins = map[string]struct{ group, name, labels, prefix string }{
	"load.average_1m":                {"loadavg", "node_load1", "", ""},
	"load.average_5m":                {"loadavg", "node_load5", "", ""},
	"load.average_15m":               {"loadavg", "node_load15", "", ""},
	"cpu.frequency_hertz":            {"cpufreq", "node_cpu_scaling_frequency_hertz", "cpu", ""},
	"network.carrier_changes_total":  {"netclass", "node_network_carrier_changes_total", "device", ""},
	"network.speed_bytes_per_second": {"netclass", "node_network_speed_bytes", "device", ""},
	"thermal.zone_celsius":           {"thermal_zone", "node_thermal_zone_temp", "zone,type", "thermal_zone"},
	"thermal.cooling_state":          {"thermal_zone", "node_cooling_device_cur_state", "name,type", "cooling_device"},
	"thermal.cooling_max_state":      {"thermal_zone", "node_cooling_device_max_state", "name,type", "cooling_device"},
	"power.online":                   {"powersupplyclass", "node_power_supply_online", "power_supply", ""},
	"power.capacity_percent":         {"powersupplyclass", "node_power_supply_capacity", "power_supply", ""},
	"power.voltage_volts":            {"powersupplyclass", "node_power_supply_voltage_volt", "power_supply", ""},
	"power.current_amperes":          {"powersupplyclass", "node_power_supply_current_ampere", "power_supply", ""},
}

// twin makes the series of node_exporter's that goes with one of ours, nil if there is none.
func (r *Registry) twin(name string, values []string) *Series {
	t, found := twins[name]
	if !found {
		return nil
	}
	n := r.node(t.group)
	if n == nil {
		return nil
	}
	var labels []string
	for i, label := range strings.Split(t.labels, ",") {
		if label != "" {
			labels = append(labels, label, strings.TrimPrefix(values[i], t.prefix))
		}
	}
	return n.series(t.name, labels...)
}

// nodeColumn is a number in a line: its metric, and how many of the file's unit make one of the
// metric's.
type nodeColumn struct {
	name string
	per  float64
}

// columns makes the series of a line, all with the same labels. There are none if n is nil.
func (n *Node) columns(list []nodeColumn, labels ...string) (series []*Series) {
	if n != nil {
		for _, c := range list {
			s := n.series(c.name, labels...)
			s.per = c.per
			series = append(series, s)
		}
	}
	return series
}

// addColumns adds the numbers of a line. An old kernel has fewer of them.
func (b *Batch) addColumns(series []*Series, line []byte) {
	for _, s := range series {
		var field []byte
		if field, line = proc.NextField(line); len(field) == 0 {
			return
		}
		b.addField(s, field)
	}
}

// addField adds the number in a field of a kernel file. A bad one is reported.
func (b *Batch) addField(s *Series, field []byte) {
	var count uint64
	if err := proc.ParseCount(field, &count); err != nil {
		b.Fail(err, s.parts...)
		return
	}
	v := float64(count) / s.per
	if v < s.last && s.last-v < s.slack {
		v = s.last
	}
	b.Add(s, v)
}

// nodeKeys are the series of a file whose numbers have names.
type nodeKeys struct {
	node   *Node
	name   func(key string) string // the metric of a key, "" if it is not wanted
	series map[string]*Series      // by key
}

// keys returns nil if n is.
func (n *Node) keys(name func(key string) string) *nodeKeys {
	if n == nil {
		return nil
	}
	return &nodeKeys{n, name, map[string]*Series{}}
}

// of returns the series of a key, nil if it is not wanted.
func (k *nodeKeys) of(key []byte) *Series {
	s, known := k.series[string(key)]
	if !known {
		text := string(key)
		if name := k.name(text); name != "" {
			s = k.node.series(name)
		}
		k.series[text] = s
	}
	return s
}

// add adds the first number of a line if its key is wanted.
func (k *nodeKeys) add(key, line []byte, out *Batch) {
	if s := k.of(key); s != nil {
		field, _ := proc.NextField(line)
		out.addField(s, field)
	}
}

// nodeStat adds what node_exporter has of /proc/stat.
type nodeStat struct {
	cpu   *Node
	cores map[string][]*Series // by number
	keys  *nodeKeys
}

// statNames are the metrics of the lines that are one number.
var statNames = map[string]string{
	"intr": "node_intr_total", "ctxt": "node_context_switches_total", "processes": "node_forks_total",
	"btime": "node_boot_time_seconds", "procs_running": "node_procs_running", "procs_blocked": "node_procs_blocked",
}

func newNodeStat(reg *Registry) *nodeStat {
	if reg.Node == nil {
		return nil
	}
	return &nodeStat{reg.node("cpu"), map[string][]*Series{}, reg.node("stat").keys(func(key string) string { return statNames[key] })}
}

// add does nothing if s is nil.
func (s *nodeStat) add(text []byte, out *Batch) {
	for s != nil && len(text) > 0 {
		var line []byte
		line, text = proc.NextLine(text)
		key, rest := proc.NextField(line)
		if number, isCPU := bytes.CutPrefix(key, []byte("cpu")); !isCPU {
			if s.keys != nil {
				s.keys.add(key, rest, out)
			}
		} else if len(number) > 0 && s.cpu != nil { // without a number: all of them together
			if _, err := proc.ParseUint(number); err == nil {
				out.addColumns(s.core(number), rest)
			}
		}
	}
}

// cpuSlack is by how many seconds a time of a core may go back and counts as the same: the kernel
// documents that of the time without work, and a rate would take it for a reset. As node_exporter
// does.
const cpuSlack = 3

func (s *nodeStat) core(number []byte) []*Series {
	series := s.cores[string(number)]
	if series == nil {
		for i, mode := range []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "user", "nice"} {
			name := "node_cpu_seconds_total"
			if i >= 8 {
				name = "node_cpu_guest_seconds_total"
			}
			column := s.cpu.series(name, "cpu", string(number), "mode", mode)
			column.per, column.slack = userHz, cpuSlack
			series = append(series, column)
		}
		s.cores[string(number)] = series
	}
	return series
}

// memoryName is the metric of a key such as "Active(anon):".
func memoryName(key string) string {
	name := strings.NewReplacer("(", "_", ")", "", ":", "").Replace(key)
	if strings.HasPrefix(name, "HugePages_") { // the only ones that are no kB
		return "node_memory_" + name
	}
	return "node_memory_" + name + "_bytes"
}

// addMemory adds all of /proc/meminfo. What is free is not more than there is: total and swapTotal,
// which may be NaN. It does nothing if k is nil.
func (k *nodeKeys) addMemory(text []byte, total, swapTotal float64, out *Batch) {
	for k != nil && len(text) > 0 {
		var line []byte
		line, text = proc.NextLine(text)
		key, rest := proc.NextField(line)
		field, rest := proc.NextField(rest)
		s := k.of(key)
		if kB, _ := proc.NextField(rest); len(kB) > 0 {
			s.per = 1. / (1 << 10)
		}
		switch v := parsed(field) / s.per; string(key) {
		case "MemFree:", "MemAvailable:":
			out.AddPart(s, v, total)
		case "SwapFree:":
			out.AddPart(s, v, swapTotal)
		default:
			out.addField(s, field)
		}
	}
}

// parsed is the number in a field, NaN for a bad one.
func parsed(field []byte) float64 {
	var n uint64
	_ = proc.ParseCount(field, &n) // n is Absent then
	return number(n)
}

// diskColumns are the numbers of a line of /proc/diskstats.
var diskColumns = []nodeColumn{
	{"node_disk_reads_completed_total", 1},
	{"node_disk_reads_merged_total", 1},
	{"node_disk_read_bytes_total", 1. / proc.SectorBytes},
	{"node_disk_read_time_seconds_total", 1000},
	{"node_disk_writes_completed_total", 1},
	{"node_disk_writes_merged_total", 1},
	{"node_disk_written_bytes_total", 1. / proc.SectorBytes},
	{"node_disk_write_time_seconds_total", 1000},
	{"node_disk_io_now", 1},
	{"node_disk_io_time_seconds_total", 1000},
	{"node_disk_io_time_weighted_seconds_total", 1000},
	{"node_disk_discards_completed_total", 1},
	{"node_disk_discards_merged_total", 1},
	{"node_disk_discarded_sectors_total", 1},
	{"node_disk_discard_time_seconds_total", 1000},
	{"node_disk_flush_requests_total", 1},
	{"node_disk_flush_requests_time_seconds_total", 1000},
}

// netColumns are the numbers of a line of /proc/net/dev.
var netColumns = []nodeColumn{
	{"node_network_receive_bytes_total", 1},
	{"node_network_receive_packets_total", 1},
	{"node_network_receive_errs_total", 1},
	{"node_network_receive_drop_total", 1},
	{"node_network_receive_fifo_total", 1},
	{"node_network_receive_frame_total", 1},
	{"node_network_receive_compressed_total", 1},
	{"node_network_receive_multicast_total", 1},
	{"node_network_transmit_bytes_total", 1},
	{"node_network_transmit_packets_total", 1},
	{"node_network_transmit_errs_total", 1},
	{"node_network_transmit_drop_total", 1},
	{"node_network_transmit_fifo_total", 1},
	{"node_network_transmit_colls_total", 1},
	{"node_network_transmit_carrier_total", 1},
	{"node_network_transmit_compressed_total", 1},
}

// sensor makes what takes the value of a sensor that only node_exporter has.
func (n *Node) sensor(name string, labels ...string) func(*Registry) func(*Batch, float64) {
	return func(*Registry) func(*Batch, float64) {
		s := n.series(name, labels...)
		return func(out *Batch, v float64) { out.Add(s, v) }
	}
}

// hwmonUnits end the names of what the kinds of sensors measure and of its limits. Alarms of a
// limit have them too, and are divided like the limits.
var hwmonUnits = map[string]struct {
	name string
	per  float64
}{"temp": {"_celsius", 1000}, "in": {"_volts", 1000}, "fan": {"_rpm", 1}, "curr": {"_amps", 1000}, "power": {"_watt", 1e6}}

// chipName is what node_exporter calls the chip of a sensor: by where its device is, which is the
// same after each boot.
func chipName(s *proc.HwmonSensor) string {
	if s.DevicePath != "" {
		parent, device := cleanName(filepath.Base(filepath.Dir(s.DevicePath))), cleanName(filepath.Base(s.DevicePath))
		if name := strings.TrimLeft(parent+"_"+device, "_"); device != "" {
			return name
		}
	}
	return cmp.Or(cleanName(s.Chip), s.Dir)
}

// cleanName makes a part of a name: lower case, with underscores.
func cleanName(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == ':' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(text)), "_")
}

// hwmonNames makes the series that say what chips and sensors are called. There are none if n is
// nil.
func (n *Node) hwmonNames(sensors []*proc.HwmonSensor) (names []*Series) {
	named := map[string]bool{}
	for _, s := range sensors {
		if n == nil {
			break
		}
		chip := chipName(s)
		if name := cleanName(s.Chip); name != "" && !named[s.Dir] {
			names = append(names, n.series("node_hwmon_chip_names", "chip", chip, "chip_name", name))
		}
		named[s.Dir] = true
		if s.Label != "" {
			names = append(names, n.series("node_hwmon_sensor_label", "chip", chip, "sensor", s.Name, "label", s.Label))
		}
	}
	return names
}

// hwmonTwin returns the series of a file of a sensor: "input", "crit", "crit_alarm" or, of an alarm
// of the sensor as such, "alarm". It is nil if n is.
func (n *Node) hwmonTwin(s *proc.HwmonSensor, what string) *Series {
	if n == nil {
		return nil
	}
	unit := hwmonUnits[s.Kind]
	name, per := "node_hwmon_"+s.Kind, 1.
	switch isAlarm := strings.HasSuffix(what, "alarm"); {
	case what == "input":
		name += unit.name
	case what == "alarm" || s.Kind == "fan" && isAlarm:
		name += "_" + what
	default:
		name += "_" + what + unit.name
		if isAlarm {
			per = unit.per
		}
	}
	twin := n.series(name, "chip", chipName(s), "sensor", s.Name)
	twin.per = per
	return twin
}
