package sample

import (
	"errors"
	"runtime"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
)

// kinds are all collectors in the order of a tick: those of the core first, so
// that they are read at its very beginning, those that may be slow last.
var kinds = []struct {
	name string
	make func(fs proc.FS, reg *Registry, cfg *config.Config) (Collector, error)
}{
	{"cpu", plain(NewCPU)},
	{"memory", plain(NewMemory)},
	{"load", plain(NewLoad)},
	{"system", plain(func(fs proc.FS, reg *Registry) Collector { return NewSystem(fs, proc.OSReleasePath(fs), reg) })},
	{"pressure", plain(NewPressure)},
	{"network", func(fs proc.FS, reg *Registry, cfg *config.Config) (Collector, error) {
		return NewNetwork(fs, reg, cfg.Network)
	}},
	{"disk", func(fs proc.FS, reg *Registry, cfg *config.Config) (Collector, error) {
		return NewDisk(fs, reg, cfg.Disk.AllowedDevices)
	}},
	{"wireless", plain(NewWireless)},
	{"thermal", plain(NewThermal)},
	{"hwmon", plain(NewHwmon)},
	{"link", func(fs proc.FS, reg *Registry, cfg *config.Config) (Collector, error) {
		return NewLink(fs, reg, cfg.Network)
	}},
	{"board", plain(NewBoard)},
	{"services", func(fs proc.FS, reg *Registry, cfg *config.Config) (Collector, error) {
		return NewServices(fs, reg, cfg.Services)
	}},
	{"filesystem", plain(NewFilesystem)},
}

// plain makes a collector that has no options.
func plain(create func(proc.FS, *Registry) Collector) func(proc.FS, *Registry, *config.Config) (Collector, error) {
	return func(fs proc.FS, reg *Registry, _ *config.Config) (Collector, error) { return create(fs, reg), nil }
}

// New makes the collectors that cfg enables, in the order in which a tick should
// read them, with the series of device. It reads nothing yet. The error holds all
// that is wrong. On other systems than Linux the collectors make their samples up.
func New(cfg *config.Config, device string) ([]Collector, error) {
	fs := proc.FS{Proc: cfg.Collection.ProcfsPath, Sys: cfg.Collection.SysfsPath, Root: cfg.Collection.RootfsPath}
	reg := &Registry{Device: device, Labels: cfg.Device.Labels, Node: newNode(cfg, device)}
	var collectors []Collector
	var faults []error
	for _, kind := range kinds {
		if enabled, _ := cfg.Collection.Collector(kind.name); !enabled {
			continue
		}
		c, err := kind.make(fs, reg, cfg)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if runtime.GOOS != "linux" {
			c = newGenerated(kind.name, reg)
		}
		collectors = append(collectors, c)
	}
	if reg.Node != nil && runtime.GOOS == "linux" {
		collectors = append(collectors, newNodeFiles(fs, reg))
	}
	return collectors, errors.Join(faults...)
}
