package sample

import (
	"errors"
	"runtime"

	"belabox-metrics/collectord/internal/proc"
)

// Config says what is collected and from where. Zero fields have the defaults
// named here.
type Config struct {
	FS        proc.FS           // /proc and /sys
	OSRelease string            // proc.OSReleasePath
	Device    string            // device id of all series
	Labels    map[string]string // of all series

	Enabled    func(collector string) bool // nil: all are
	Network    NetworkOptions
	Disk       DiskOptions
	Filesystem FilesystemOptions
}

// kinds are all collectors in the order of a tick: those of the core first, so
// that they are read at its very beginning, those that may be slow last.
var kinds = []struct {
	name string
	make func(cfg *Config, reg *Registry) (Collector, error)
}{
	{"cpu", func(cfg *Config, reg *Registry) (Collector, error) { return NewCPU(cfg.FS, reg), nil }},
	{"memory", func(cfg *Config, reg *Registry) (Collector, error) { return NewMemory(cfg.FS, reg), nil }},
	{"load", func(cfg *Config, reg *Registry) (Collector, error) { return NewLoad(cfg.FS, reg), nil }},
	{"system", func(cfg *Config, reg *Registry) (Collector, error) {
		return NewSystem(cfg.FS, cfg.OSRelease, reg), nil
	}},
	{"pressure", func(cfg *Config, reg *Registry) (Collector, error) { return NewPressure(cfg.FS, reg), nil }},
	{"network", func(cfg *Config, reg *Registry) (Collector, error) { return NewNetwork(cfg.FS, reg, cfg.Network) }},
	{"disk", func(cfg *Config, reg *Registry) (Collector, error) { return NewDisk(cfg.FS, reg, cfg.Disk) }},
	{"wireless", func(cfg *Config, reg *Registry) (Collector, error) { return NewWireless(cfg.FS, reg), nil }},
	{"thermal", func(cfg *Config, reg *Registry) (Collector, error) { return NewThermal(cfg.FS, reg), nil }},
	{"hwmon", func(cfg *Config, reg *Registry) (Collector, error) { return NewHwmon(cfg.FS, reg), nil }},
	{"filesystem", func(cfg *Config, reg *Registry) (Collector, error) {
		return NewFilesystem(cfg.FS, reg, cfg.Filesystem)
	}},
}

// New makes the enabled collectors, in the order in which a tick should read
// them. It reads nothing yet. The error holds all that is wrong with cfg.
// On other systems than Linux the collectors make their samples up.
func New(cfg Config) ([]Collector, error) {
	if cfg.FS.Proc == "" {
		cfg.FS.Proc = "/proc"
	}
	if cfg.FS.Sys == "" {
		cfg.FS.Sys = "/sys"
	}
	if cfg.OSRelease == "" {
		cfg.OSRelease = proc.OSReleasePath(cfg.FS)
	}
	reg := &Registry{Device: cfg.Device, Labels: cfg.Labels}
	var collectors []Collector
	var faults []error
	for _, kind := range kinds {
		if cfg.Enabled != nil && !cfg.Enabled(kind.name) {
			continue
		}
		c, err := kind.make(&cfg, reg)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if runtime.GOOS != "linux" {
			c = newGenerated(kind.name, reg)
		}
		collectors = append(collectors, c)
	}
	return collectors, errors.Join(faults...)
}
