package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

func (v *validator) all() {
	v.device()
	v.collection()
	v.network()
	v.disk()
	v.services()
	v.storage()
	v.remote()
	v.health()
	v.monitoring()
	v.logging()
}

// The limits of VictoriaMetrics are 30 (1.79) to 40 labels a series, with the
// metric's own, and 4 KiB a value.
const (
	maxLabels          = 20
	maxLabelNameBytes  = 256
	maxLabelValueBytes = 4096
)

var (
	deviceID  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)
	labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

func (v *validator) device() {
	c := &v.cfg.Device
	if c.ID != "" && (len(c.ID) > 128 || !deviceID.MatchString(c.ID)) {
		v.fault("device.id", `want 1 to 128 letters, digits and ". _ : -", beginning with a letter or digit, got %q`, clip(c.ID))
	}
	if len(c.Labels) > maxLabels {
		v.fault("device.labels", "want at most %d labels, got %d", maxLabels, len(c.Labels))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		key, value := childKey("device.labels", name), c.Labels[name]
		switch {
		case !labelName.MatchString(name) || len(name) > maxLabelNameBytes:
			v.fault(key, `a label's name is up to %d letters, digits and "_", not beginning with a digit`, maxLabelNameBytes)
		case strings.HasPrefix(name, "__"):
			v.fault(key, `names that begin with "__" belong to the server`)
		case name == "device_id":
			v.fault(key, "this label is set by device.id: set it there")
		case value == "":
			v.fault(key, "empty: a label must have a value; delete it")
		default:
			v.labelValue(key, value)
		}
	}
}

func (v *validator) labelValue(key, value string) {
	switch {
	case len(value) > maxLabelValueBytes:
		v.fault(key, "want at most %d bytes, got %d", maxLabelValueBytes, len(value))
	case !printable(value):
		v.fault(key, "contains a control character")
	}
}

func (v *validator) collection() {
	c := &v.cfg.Collection
	v.interval("collection.interval", c.Interval)
	v.path("collection.procfs_path", c.ProcfsPath)
	v.path("collection.sysfs_path", c.SysfsPath)
	v.optionalPath("collection.rootfs_path", c.RootfsPath)
	v.names("collection.ignore_sensors", c.IgnoreSensors)
	v.optionalPath("collection.textfile.directory", c.Textfile.Directory)
	number(v, "collection.textfile.max_series", c.Textfile.MaxSeries, 1, 20_000)
	v.span("collection.textfile.max_age", c.Textfile.MaxAge, 0, 87600*time.Hour)
	for _, name := range slices.Sorted(maps.Keys(c.Collectors)) {
		key := childKey("collection.collectors", name)
		if !slices.Contains(collectorNames[:], name) {
			v.fault(key, "unknown collector; there are %s", strings.Join(collectorNames[:], ", "))
		}
		if own := c.Collectors[name].Interval; own != 0 {
			v.interval(childKey(key, "interval"), own)
		}
	}
	if !slices.ContainsFunc(collectorNames[:], func(name string) bool { on, _ := c.Collector(name); return on }) {
		v.fault("collection.collectors", "every collector is switched off: nothing would be sampled")
	}
	for i, name := range c.NodeExporter.Exclude {
		if !slices.Contains(nodeExporterGroups[:], name) {
			v.fault(itemKey("collection.node_exporter.exclude", i), "unknown group; there are %s", strings.Join(nodeExporterGroups[:], ", "))
		}
	}
	v.labelValue("collection.node_exporter.job", c.NodeExporter.Job)
	v.labelValue("collection.node_exporter.instance", c.NodeExporter.Instance)
}

// interval checks the time between two samples. Timestamps are milliseconds, so
// ticks that are aligned to anything finer would not stay aligned.
func (v *validator) interval(key string, d time.Duration) {
	v.span(key, d, 100*time.Millisecond, time.Hour)
	if d%time.Millisecond != 0 {
		v.fault(key, "want whole milliseconds, got %s", short(d))
	}
}

func (v *validator) network() {
	c := &v.cfg.Network
	v.names("network.include", c.Include)
	v.names("network.exclude", c.Exclude)
	number(v, "network.max_interfaces", c.MaxInterfaces, 1, 4096)
}

func (v *validator) disk() {
	patterns := v.cfg.Disk.AllowedDevices
	if len(patterns) == 0 {
		v.fault("disk.allowed_devices", "empty: to sample no disk set collection.collectors.disk.enabled to false")
	}
	v.names("disk.allowed_devices", patterns)
}

func (v *validator) services() {
	for i, pattern := range v.cfg.Services {
		if _, err := CompileService(pattern); err != nil {
			v.fault(itemKey("services", i), "%v", err)
		}
	}
}

// names checks patterns for names of sensors, interfaces and devices.
func (v *validator) names(key string, patterns []string) {
	for i, pattern := range patterns {
		if _, err := CompileName(pattern); err != nil {
			v.fault(itemKey(key, i), "%v", err)
		}
	}
}

func (v *validator) storage() {
	c := &v.cfg.Storage
	v.path("storage.path", c.Path)
	if strings.HasSuffix(c.Path, "/") {
		v.fault("storage.path", "want a file, not a directory: for example /var/lib/belabox-metrics/metrics.db")
	}
	if strings.ContainsAny(c.Path, "?#%") {
		v.fault("storage.path", "%s", "? # and % have a special meaning in SQLite: choose a path without them")
	}
	v.span("storage.wal_checkpoint_interval", c.WALCheckpointInterval, time.Minute, 24*time.Hour)
	number(v, "storage.wal_checkpoint_size_mb", c.WALCheckpointSizeMB, 1, 1024)
	v.span("storage.retention", c.Retention, 0, 87600*time.Hour)
	number(v, "storage.max_size_mb", c.MaxSizeMB, 16, 1<<20)
	if c.WALCheckpointSizeMB >= c.MaxSizeMB {
		v.clash([]string{"storage.max_size_mb", "storage.wal_checkpoint_size_mb"},
			"the budget of %d MiB holds the WAL too: want max_size_mb above wal_checkpoint_size_mb, which is %d",
			c.MaxSizeMB, c.WALCheckpointSizeMB)
	}
	v.span("storage.durability", c.Durability, 0, time.Hour)
}

func (v *validator) health() {
	c := &v.cfg.Health
	collectord := v.listener("health.collectord_listen", c.CollectordListen)
	shipperd := v.listener("health.shipperd_listen", c.ShipperdListen)
	if collectord.collides(shipperd) {
		v.clash([]string{"health.shipperd_listen", "health.collectord_listen"},
			"both daemons would listen on port %d: give each its own", shipperd.port)
	}
	v.optionalPath("health.auth_file", c.AuthFile)
	for i, name := range c.AllowedHosts {
		if !hostName.MatchString(name) || len(name) > 253 {
			v.fault(itemKey("health.allowed_hosts", i), "want a host name without a port, such as box.example, got %q", clip(name))
		}
	}
	number(v, "health.degraded_threshold", c.DegradedThreshold, 1, 1_000_000_000)
	number(v, "health.error_threshold", c.ErrorThreshold, 1, 1_000_000_000)
	if c.DegradedThreshold > c.ErrorThreshold {
		v.clash([]string{"health.degraded_threshold", "health.error_threshold"},
			"want degraded_threshold at most error_threshold, got %d and %d", c.DegradedThreshold, c.ErrorThreshold)
	}
}

func (v *validator) monitoring() {
	c := &v.cfg.Monitoring
	v.span("monitoring.clock_skew_check_interval", c.ClockSkewCheckInterval, 10*time.Second, 24*time.Hour)
	number(v, "monitoring.clock_skew_warn_threshold_ms", c.ClockSkewWarnThresholdMS, 1, 3_600_000)
	clock, imports := v.url("monitoring.clock_skew_url", c.ClockSkewURL), v.url("remote.url", v.cfg.Remote.URL)
	if clock != nil && imports != nil && clock.Host == imports.Host && clock.Path == imports.Path {
		v.clash([]string{"monitoring.clock_skew_url", "remote.url"}, "is the import address: want one that only answers, such as /health")
	}
}

func (v *validator) logging() {
	v.choice("logging.level", v.cfg.Logging.Level, "debug", "info", "warn", "error")
	v.choice("logging.format", v.cfg.Logging.Format, "json", "console")
}
