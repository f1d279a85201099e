package main

import (
	"errors"
	"os"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/daemon"
)

// newScheduler makes the collectors that the configuration asks for.
func newScheduler(env daemon.Env) (*schedule.Scheduler, error) {
	c := env.Config
	device := config.ResolveDeviceID(c, os.ReadFile, os.Hostname)
	if device == "" {
		return nil, errors.New("this machine has neither a machine id nor a host name: set device.id in the configuration")
	}
	collectors, err := sample.New(sample.Config{
		FS:     proc.FS{Proc: c.Collection.ProcfsPath, Sys: c.Collection.SysfsPath},
		Device: device,
		Labels: c.Device.Labels,
		Enabled: func(name string) bool {
			enabled, _ := c.Collection.Collector(name)
			return enabled
		},
		Network: sample.NetworkOptions{Include: c.Network.Include, Exclude: c.Network.Exclude, MaxInterfaces: c.Network.MaxInterfaces},
		Disk:    sample.DiskOptions{AllowedDevices: c.Disk.AllowedDevices},
	})
	if err != nil {
		return nil, err
	}
	intervals := map[string]time.Duration{}
	for _, collector := range collectors {
		_, intervals[collector.Name()] = c.Collection.Collector(collector.Name())
	}
	return schedule.New(schedule.Config{Interval: c.Collection.Interval, Intervals: intervals}, schedule.Deps{Collectors: collectors})
}
