// Package config reads the one YAML file that both daemons share.
//
// It promises that a file is either accepted completely or refused: unknown and duplicate keys,
// wrong types, values out of range and keys that contradict each other are faults, and all of them
// are reported at once with their line. Only a fault in the YAML syntax ends the reading at its
// line. Every key may be left out. default.yaml is the only description of each key: meaning, unit,
// range and default.
//
// It holds no secrets, only the names of the files they are in, so a Config may be printed and
// logged. It reads neither those files nor the environment, and it does not check that paths exist
// or that addresses answer.
package config

import (
	"slices"
	"time"
)

// Config is the whole file; default.yaml explains each key.
type Config struct {
	Device     DeviceConfig     `yaml:"device"`
	Collection CollectionConfig `yaml:"collection"`
	Network    NetworkConfig    `yaml:"network"`
	Disk       DiskConfig       `yaml:"disk"`
	Services   []string         `yaml:"services"` // units; for the patterns see [CompileService]
	Storage    StorageConfig    `yaml:"storage"`
	Remote     RemoteConfig     `yaml:"remote"`
	Health     HealthConfig     `yaml:"health"`
	Monitoring MonitoringConfig `yaml:"monitoring"`
	Logging    LoggingConfig    `yaml:"logging"`
}

// DeviceConfig identifies the device.
type DeviceConfig struct {
	ID     string            `yaml:"id"` // empty: see [ResolveDeviceID]
	Labels map[string]string `yaml:"labels"`
}

// CollectionConfig says when and from where collectord samples.
type CollectionConfig struct {
	Interval   time.Duration              `yaml:"interval"`
	ProcfsPath string                     `yaml:"procfs_path"`
	SysfsPath  string                     `yaml:"sysfs_path"`
	RootfsPath string                     `yaml:"rootfs_path"` // empty: mount points are reached as they are
	Collectors map[string]CollectorConfig `yaml:"collectors"`  // by name, see [CollectorNames]

	IgnoreSensors []string `yaml:"ignore_sensors"` // for the patterns see [CompileName]

	Textfile TextfileConfig `yaml:"textfile"`

	NodeExporter NodeExporterConfig `yaml:"node_exporter"`
}

// TextfileConfig says where other programs leave files in the Prometheus text format.
type TextfileConfig struct {
	Directory string        `yaml:"directory"` // empty: off
	MaxSeries int           `yaml:"max_series"`
	MaxAge    time.Duration `yaml:"max_age"` // 0: any
}

// NodeExporterConfig adds the series of node_exporter.
type NodeExporterConfig struct {
	Enabled  bool     `yaml:"enabled"`
	Exclude  []string `yaml:"exclude"`  // groups, see [NodeExporterGroups]
	Job      string   `yaml:"job"`      // label; empty: that of device.labels, or "node"
	Instance string   `yaml:"instance"` // label; empty: that of device.labels, or the device id and ":9100"
}

// CollectorConfig changes one collector; see [CollectionConfig.Collector].
type CollectorConfig struct {
	Enabled  *bool         `yaml:"enabled"`  // nil: on
	Interval time.Duration `yaml:"interval"` // 0: collection.interval
}

// NetworkConfig says which interfaces are sampled; for the patterns see [CompileName].
type NetworkConfig struct {
	Include       []string `yaml:"include"` // wins over Exclude
	Exclude       []string `yaml:"exclude"`
	MaxInterfaces int      `yaml:"max_interfaces"`
}

// Samples reports whether the interface is sampled, unless max_interfaces others come before it.
func (c NetworkConfig) Samples(name string) bool {
	matches := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			pattern, err := CompileName(p)
			return err == nil && pattern.MatchString(name)
		})
	}
	return matches(c.Include) || !matches(c.Exclude)
}

// DiskConfig says which block devices are sampled; for the patterns see [CompileName].
type DiskConfig struct {
	AllowedDevices []string `yaml:"allowed_devices"`
}

// StorageConfig describes the database between the two daemons.
type StorageConfig struct {
	Path                  string        `yaml:"path"`
	WALCheckpointInterval time.Duration `yaml:"wal_checkpoint_interval"`
	WALCheckpointSizeMB   int64         `yaml:"wal_checkpoint_size_mb"` // MiB, like MaxSizeMB
	Retention             time.Duration `yaml:"retention"`
	MaxSizeMB             int64         `yaml:"max_size_mb"`
	Durability            time.Duration `yaml:"durability"`
}

// MaxDataBytes is what the rows may take in the database file: the budget less the
// WAL.
func (c StorageConfig) MaxDataBytes() int64 { return (c.MaxSizeMB - c.WALCheckpointSizeMB) << 20 }

// RemoteConfig says where and how shipperd delivers.
type RemoteConfig struct {
	Enabled               bool              `yaml:"enabled"`
	URL                   string            `yaml:"url"`
	AuthTokenFile         string            `yaml:"auth_token_file"`
	BasicAuth             BasicAuthConfig   `yaml:"basic_auth"`
	Headers               map[string]string `yaml:"headers"`
	UploadInterval        time.Duration     `yaml:"upload_interval"`
	BatchSize             int               `yaml:"batch_size"`
	ChunkSize             int               `yaml:"chunk_size"`
	MaxChunkBytes         int64             `yaml:"max_chunk_bytes"`
	Order                 string            `yaml:"order"`                     // OldestFirst or NewestFirst
	CatchUpBytesPerSecond int64             `yaml:"catch_up_bytes_per_second"` // 0: unlimited
	MonthlyBudgetMB       int64             `yaml:"monthly_budget_mb"`         // 1,000,000 bytes, as tariffs have it; 0: unlimited
	BudgetDay             int               `yaml:"budget_day"`
	Timeout               time.Duration     `yaml:"timeout"`
	MaxPast               time.Duration     `yaml:"max_past"`
	MaxFuture             time.Duration     `yaml:"max_future"`
	Retry                 RetryConfig       `yaml:"retry"`
	Verify                VerifyConfig      `yaml:"verify"`
	TLS                   TLSConfig         `yaml:"tls"`
}

// What remote.order may be.
const (
	OldestFirst = "oldest_first"
	NewestFirst = "newest_first"
)

// BasicAuthConfig is user and password; both or none.
type BasicAuthConfig struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
}

// RetryConfig says how a failed request is tried again within one upload.
type RetryConfig struct {
	Enabled        bool          `yaml:"enabled"`
	MaxAttempts    int           `yaml:"max_attempts"`
	InitialBackoff time.Duration `yaml:"initial_backoff"`
	MaxBackoff     time.Duration `yaml:"max_backoff"`
	Multiplier     float64       `yaml:"multiplier"`
	JitterPercent  int           `yaml:"jitter_percent"`
}

// VerifyConfig says how delivered samples are read back.
type VerifyConfig struct {
	Enabled    bool          `yaml:"enabled"`
	URL        string        `yaml:"url"` // empty: derived from remote.url
	Delay      time.Duration `yaml:"delay"`
	Settle     time.Duration `yaml:"settle"`
	MaxResends int           `yaml:"max_resends"`
}

// TLSConfig names files in PEM format.
type TLSConfig struct {
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// HealthConfig is about the status pages and the thresholds of /health.
type HealthConfig struct {
	CollectordListen  string   `yaml:"collectord_listen"`
	ShipperdListen    string   `yaml:"shipperd_listen"`
	AuthFile          string   `yaml:"auth_file"`
	AllowedHosts      []string `yaml:"allowed_hosts"` // others are refused: an attacker can make a name point here
	DegradedThreshold int64    `yaml:"degraded_threshold"`
	ErrorThreshold    int64    `yaml:"error_threshold"`
}

// MonitoringConfig is about the device's clock.
type MonitoringConfig struct {
	ClockSkewCheckInterval   time.Duration `yaml:"clock_skew_check_interval"`
	ClockSkewWarnThresholdMS int64         `yaml:"clock_skew_warn_threshold_ms"`
	ClockSkewURL             string        `yaml:"clock_skew_url"` // empty: by default a device sends no request to a third party
}

// LoggingConfig is about the log on standard error.
type LoggingConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}
