// Package config reads the one YAML file that both daemons share.
//
// It promises that a file is either understood completely or refused: unknown
// and doubled keys, wrong types, values out of range and keys that contradict
// each other are faults, and all of them are reported at once with their line.
// Only a fault of the YAML syntax stops the reading where it stands. Every key
// may be left out; its default stands in [Default] and nowhere else.
//
// It holds no secrets, only the names of the files they are in, so a Config may
// be printed and logged. It reads neither those files nor the environment, and
// it does not check that paths exist or that addresses answer.
package config

import "time"

// Config is the whole file. The comments of its fields give the unit, the range
// and the default of each key; default.yaml says the same to the operator.
type Config struct {
	Device     DeviceConfig     `yaml:"device"`
	Collection CollectionConfig `yaml:"collection"`
	Network    NetworkConfig    `yaml:"network"`
	Disk       DiskConfig       `yaml:"disk"`
	Storage    StorageConfig    `yaml:"storage"`
	Remote     RemoteConfig     `yaml:"remote"`
	Health     HealthConfig     `yaml:"health"`
	Monitoring MonitoringConfig `yaml:"monitoring"`
	Logging    LoggingConfig    `yaml:"logging"`
}

// DeviceConfig says who the samples are from.
type DeviceConfig struct {
	// ID is the label device_id of every sample: 1 to 128 letters, digits and
	// ". _ : -", beginning with a letter or digit. Empty, the default, stands for
	// what [ResolveDeviceID] finds. A new id makes new series at the server.
	ID string `yaml:"id"`

	// Labels are added to every series of the device: at most 20, names of
	// letters, digits and "_" that do not begin with a digit or "__" and are not
	// device_id, values of 1 to 4096 bytes. A label that the metric has itself
	// wins over one of the same name here. Default none.
	Labels map[string]string `yaml:"labels"`
}

// CollectionConfig says when and from where collectord samples.
type CollectionConfig struct {
	// Interval is the time between two ticks, 100ms to 1h in whole milliseconds,
	// default 10s. Ticks are aligned to it.
	Interval time.Duration `yaml:"interval"`

	// ProcfsPath and SysfsPath are where the kernel's trees are mounted, absolute,
	// default /proc and /sys. A collector in a container reads the host's here.
	ProcfsPath string `yaml:"procfs_path"`
	SysfsPath  string `yaml:"sysfs_path"`

	// RootfsPath is where the host's root file system is mounted, absolute; empty,
	// the default, where mount points are reached as they are, or not at all from a
	// container.
	RootfsPath string `yaml:"rootfs_path"`

	// Collectors changes single collectors by name, see [CollectorNames].
	Collectors map[string]CollectorConfig `yaml:"collectors"`
}

// CollectorConfig changes one collector.
type CollectorConfig struct {
	// Enabled switches the collector. Left out, it is on.
	Enabled *bool `yaml:"enabled"`

	// Interval is this collector's own interval, 100ms to 1h in whole
	// milliseconds. 0, the default, is collection.interval.
	Interval time.Duration `yaml:"interval"`
}

// NetworkConfig says which interfaces are sampled. Names are matched as a whole
// by regular expressions, see [CompileName].
type NetworkConfig struct {
	// Include is asked first: an interface that it matches is sampled whatever
	// Exclude says. Default none.
	Include []string `yaml:"include"`

	// Exclude leaves out what it matches. A list in the file replaces the default:
	// lo, containers and bridges, monitor interfaces, modems and USB networks.
	Exclude []string `yaml:"exclude"`

	// MaxInterfaces caps the number of interfaces, 1 to 4096, default 32. Physical
	// ones go first; the rest is not sampled but counted in
	// network.interfaces_dropped_total.
	MaxInterfaces int `yaml:"max_interfaces"`
}

// DiskConfig says which block devices are sampled.
type DiskConfig struct {
	// AllowedDevices are regular expressions for whole names, see [CompileName]; a
	// device that none matches is not sampled. At least one. The default is whole
	// disks: no partitions, no eMMC boot areas, no loop, RAM, device-mapper or
	// RAID devices.
	AllowedDevices []string `yaml:"allowed_devices"`
}

// StorageConfig describes the database between the two daemons.
type StorageConfig struct {
	// Path is the database file, absolute. Lock files and the WAL stand beside it.
	// Default /var/lib/belabox-metrics/metrics.db.
	Path string `yaml:"path"`

	// WALCheckpointInterval is the longest time between two checkpoints, 1m to
	// 24h, default 1h.
	WALCheckpointInterval time.Duration `yaml:"wal_checkpoint_interval"`

	// WALCheckpointSizeMB is the size in MiB below which the WAL stays, 1 to 1024
	// and below MaxSizeMB, default 64: a checkpoint begins at three quarters of it.
	WALCheckpointSizeMB int64 `yaml:"wal_checkpoint_size_mb"`

	// Retention is the age up to which verified rows are kept, 0 to 87600h, default
	// 24h. 0 deletes a row as soon as it is verified. Rows that are not delivered
	// stay until they are, or until MaxSizeMB is reached.
	Retention time.Duration `yaml:"retention"`

	// MaxSizeMB is the budget of database and WAL together in MiB, 16 to 1048576,
	// default 512. At the limit verified rows go first, then the oldest pending
	// rows; each dropped row is counted.
	MaxSizeMB int64 `yaml:"max_size_mb"`

	// Durability is how much the last ticks may lose in a power cut, 0 to 1h,
	// default 10s. 0 syncs every tick. A killed process loses nothing either way.
	Durability time.Duration `yaml:"durability"`
}

// MaxDataBytes is what the rows may take in the database file: the budget less the
// WAL.
func (c StorageConfig) MaxDataBytes() int64 { return (c.MaxSizeMB - c.WALCheckpointSizeMB) << 20 }

// RemoteConfig says where and how shipperd delivers.
type RemoteConfig struct {
	// Enabled false keeps everything in the database. Default true.
	Enabled bool `yaml:"enabled"`

	// URL is the import address of VictoriaMetrics, http or https, without
	// credentials. Default http://127.0.0.1:8428/api/v1/import; in a cluster
	// /insert/<tenant>/prometheus/api/v1/import.
	URL string `yaml:"url"`

	// AuthTokenFile is a file with a bearer token, absolute, readable by its owner
	// alone (0600) or a systemd credential. Not beside BasicAuth. Default none.
	AuthTokenFile string `yaml:"auth_token_file"`

	// BasicAuth is the other way to authenticate.
	BasicAuth BasicAuthConfig `yaml:"basic_auth"`

	// Headers are sent with every request. They are no place for secrets, because
	// they are printed: Authorization and the like are refused, and so is what
	// shipperd sets itself. Default none.
	Headers map[string]string `yaml:"headers"`

	// UploadInterval is the time between two uploads, 1s to 24h, default 30s.
	UploadInterval time.Duration `yaml:"upload_interval"`

	// BatchSize is the number of rows taken in one upload, 1 to 100000, default
	// 2500. A backlog of more rows switches to catching up.
	BatchSize int `yaml:"batch_size"`

	// ChunkSize is the number of metrics (JSON lines) in one request, 1 to
	// BatchSize, default 50.
	ChunkSize int `yaml:"chunk_size"`

	// MaxChunkBytes is the largest body of a request after compression, 4096 to
	// 4194304 bytes, default 262144. Larger chunks are halved.
	MaxChunkBytes int64 `yaml:"max_chunk_bytes"`

	// CatchUpBytesPerSecond paces the draining of a backlog, from 1024. 0, the
	// default, is as fast as the server answers.
	CatchUpBytesPerSecond int64 `yaml:"catch_up_bytes_per_second"`

	// Timeout bounds one request from dialling to the end of the answer, 1s to
	// 10m, default 30s.
	Timeout time.Duration `yaml:"timeout"`

	// MaxPast and MaxFuture are how far from now the server stores a timestamp,
	// both 1m to 876000h. Samples outside are moved to the edge and counted. The
	// defaults, 720h and 47h, lie just inside what VictoriaMetrics takes without
	// flags: one month back, two days ahead.
	MaxPast   time.Duration `yaml:"max_past"`
	MaxFuture time.Duration `yaml:"max_future"`

	Retry  RetryConfig  `yaml:"retry"`
	Verify VerifyConfig `yaml:"verify"`
	TLS    TLSConfig    `yaml:"tls"`
}

// BasicAuthConfig is user and password; both or none.
type BasicAuthConfig struct {
	// Username is sent as it stands, without ":" and control characters.
	Username string `yaml:"username"`

	// PasswordFile is the file with the password, absolute, with the same mode as
	// AuthTokenFile.
	PasswordFile string `yaml:"password_file"`
}

// RetryConfig says how a failed request is tried again within one upload.
type RetryConfig struct {
	// Enabled false leaves the next try to the next upload. Default true.
	Enabled bool `yaml:"enabled"`

	// MaxAttempts counts the tries in one upload, 1 to 100, default 3.
	MaxAttempts int `yaml:"max_attempts"`

	// InitialBackoff is the wait before the second try, 100ms to 1h, default 1s.
	InitialBackoff time.Duration `yaml:"initial_backoff"`

	// MaxBackoff is the longest wait, InitialBackoff to 24h, default 1m. A
	// Retry-After of the server wins over both.
	MaxBackoff time.Duration `yaml:"max_backoff"`

	// Multiplier makes each wait longer than the one before, 1 to 10, default 2.
	Multiplier float64 `yaml:"multiplier"`

	// JitterPercent spreads each wait by so much up and down, 0 to 100, default 20.
	JitterPercent int `yaml:"jitter_percent"`
}

// VerifyConfig says how delivered samples are read back.
type VerifyConfig struct {
	// Enabled false trusts the server's 204: delivery is then at least once and
	// unproven, and health says so. Default true.
	Enabled bool `yaml:"enabled"`

	// URL is the export address of the server, ending in /api/v1/export; queries
	// go to /api/v1/query beside it. Empty, the default, derives it from
	// remote.url: /api/v1/import becomes /api/v1/export, and in a cluster
	// /insert/<tenant>/prometheus becomes /select/<tenant>/prometheus on the same
	// host. Needed where reading has another host or port.
	URL string `yaml:"url"`

	// Delay is the wait from the server's 2xx to the read-back, 15s to 1h, default
	// 30s: VictoriaMetrics forgets the last 10 to 12 s of accepted data when it is
	// killed, so a sooner look proves nothing.
	Delay time.Duration `yaml:"delay"`

	// Settle is the wait after an attempt of unknown outcome until "not there" may
	// be believed, 15s to 10m, default 15s: VictoriaMetrics caches an early
	// "nothing found" for about 11 s.
	Settle time.Duration `yaml:"settle"`

	// MaxResends is how often a missing sample is sent again before it goes to the
	// dead letters, 0 to 1000, default 5.
	MaxResends int `yaml:"max_resends"`
}

// TLSConfig is for servers with an own CA or that ask for a client certificate.
// All are absolute paths of PEM files. Default none: the system's CAs.
type TLSConfig struct {
	// CAFile replaces the system's CAs.
	CAFile string `yaml:"ca_file"`

	// CertFile and KeyFile are the client certificate; both or none.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// HealthConfig is about the pages and the thresholds of /health.
type HealthConfig struct {
	// CollectordListen and ShipperdListen are host:port, default 127.0.0.1:9100
	// and 127.0.0.1:9101. An empty host is every address; port 0 takes a free one.
	CollectordListen string `yaml:"collectord_listen"`
	ShipperdListen   string `yaml:"shipperd_listen"`

	// AuthFile is a file with one line, user:password, absolute, readable by its
	// owner alone (0600) or a systemd credential. With it every path but
	// /health/live asks for them. Default none.
	AuthFile string `yaml:"auth_file"`

	// AllowedHosts are host names, without port, by which the pages may be called
	// besides localhost, addresses, the listen address and the machine's own name,
	// also with .local: another name in the Host header is refused, because an
	// attacker can make one point here. Default none.
	AllowedHosts []string `yaml:"allowed_hosts"`

	// DegradedThreshold and ErrorThreshold are numbers of pending rows, 1 to 1e9,
	// the first at most the second, default 5000 and 10000.
	DegradedThreshold int64 `yaml:"degraded_threshold"`
	ErrorThreshold    int64 `yaml:"error_threshold"`
}

// MonitoringConfig is about the device's clock.
type MonitoringConfig struct {
	// ClockSkewCheckInterval is the time between two checks, 10s to 24h, default 5m.
	ClockSkewCheckInterval time.Duration `yaml:"clock_skew_check_interval"`

	// ClockSkewWarnThresholdMS is the skew in milliseconds that brings a warning, 1
	// to 3600000, default 2000.
	ClockSkewWarnThresholdMS int64 `yaml:"clock_skew_warn_threshold_ms"`

	// ClockSkewURL is asked for its Date header, http or https, never the import
	// address. Empty, the default, is no check: a device asks no third party
	// without being told to.
	ClockSkewURL string `yaml:"clock_skew_url"`
}

// LoggingConfig is about the log on standard error.
type LoggingConfig struct {
	// Level is the lowest that is written: debug, info, warn or error. Default info.
	Level string `yaml:"level"`

	// Format is json or console, default json.
	Format string `yaml:"format"`
}
