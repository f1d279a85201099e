package config

import (
	"slices"
	"time"
)

var collectorNames = [...]string{
	"cpu", "memory", "disk", "network", "thermal", "hwmon", "load", "system",
	"filesystem", "pressure", "wireless", "link", "board", "services", "textfile",
}

// CollectorNames returns the names that collection.collectors knows.
func CollectorNames() []string { return slices.Clone(collectorNames[:]) }

var nodeExporterGroups = [...]string{
	"conntrack", "cpu", "cpufreq", "diskstats", "entropy", "filefd", "filesystem", "hwmon", "loadavg", "meminfo", "netclass",
	"netdev", "netstat", "powersupplyclass", "pressure", "schedstat", "sockstat", "softnet", "stat", "thermal_zone", "time",
	"timex", "uname", "vmstat",
}

// NodeExporterGroups returns what collection.node_exporter.exclude can name: the collectors of
// node_exporter whose series there are.
func NodeExporterGroups() []string { return slices.Clone(nodeExporterGroups[:]) }

// Collector says whether the named collector runs and at which interval, with the
// defaults filled in.
func (c *CollectionConfig) Collector(name string) (enabled bool, interval time.Duration) {
	own := c.Collectors[name]
	enabled = (own.Enabled == nil || *own.Enabled) && (name != "textfile" || c.Textfile.Directory != "")
	interval = own.Interval
	if interval == 0 {
		interval = c.Interval
	}
	return enabled, interval
}
