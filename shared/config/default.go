package config

import (
	_ "embed"
	"slices"
	"time"
)

// defaultYAML says the same as Default, with comments. The package installs the
// same file as /etc/belabox-metrics/config.yaml.
//
//go:embed default.yaml
var defaultYAML []byte

// DefaultYAML returns the defaults as a commented file: what -print-config prints.
func DefaultYAML() []byte { return slices.Clone(defaultYAML) }

// Default returns the configuration of an empty file.
func Default() Config {
	return Config{
		Device: DeviceConfig{Labels: map[string]string{}},
		Collection: CollectionConfig{
			Interval:   10 * time.Second,
			ProcfsPath: "/proc",
			SysfsPath:  "/sys",
			Collectors: map[string]CollectorConfig{},
		},
		Network: NetworkConfig{
			Include: []string{},
			Exclude: []string{
				"lo", "docker.*", "veth.*", "br-.*", "wlan.*mon", "virbr.*", "wwan.*", "wwp.*", "usb.*",
			},
			MaxInterfaces: 32,
		},
		Disk: DiskConfig{AllowedDevices: []string{
			"sd[a-z]+", "hd[a-z]+", "vd[a-z]+", "xvd[a-z]+", "nvme[0-9]+n[0-9]+", "mmcblk[0-9]+",
		}},
		Storage: StorageConfig{
			Path:                  "/var/lib/belabox-metrics/metrics.db",
			WALCheckpointInterval: time.Hour,
			WALCheckpointSizeMB:   64,
			Retention:             24 * time.Hour,
			MaxSizeMB:             512,
			Durability:            10 * time.Second,
		},
		Remote: RemoteConfig{
			Enabled:        true,
			URL:            "http://127.0.0.1:8428/api/v1/import",
			Headers:        map[string]string{},
			UploadInterval: 30 * time.Second,
			BatchSize:      2500,
			ChunkSize:      50,
			MaxChunkBytes:  256 << 10,
			Timeout:        30 * time.Second,
			MaxPast:        720 * time.Hour,
			MaxFuture:      47 * time.Hour,
			Retry: RetryConfig{
				Enabled:        true,
				MaxAttempts:    3,
				InitialBackoff: time.Second,
				MaxBackoff:     time.Minute,
				Multiplier:     2,
				JitterPercent:  20,
			},
			Verify: VerifyConfig{
				Enabled:    true,
				Delay:      30 * time.Second,
				Settle:     15 * time.Second,
				MaxResends: 5,
			},
		},
		Health: HealthConfig{
			CollectordListen:  "127.0.0.1:9100",
			ShipperdListen:    "127.0.0.1:9101",
			AllowedHosts:      []string{},
			DegradedThreshold: 5000,
			ErrorThreshold:    10000,
		},
		Monitoring: MonitoringConfig{
			ClockSkewCheckInterval:   5 * time.Minute,
			ClockSkewWarnThresholdMS: 2000,
		},
		Logging: LoggingConfig{Level: "info", Format: "json"},
	}
}
