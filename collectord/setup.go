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

// registry says whose series they are.
func registry(c config.Config) (sample.Registry, error) {
	device := config.ResolveDeviceID(c, os.ReadFile, os.Hostname)
	if device == "" {
		return sample.Registry{}, errors.New("this machine has neither a machine id nor a host name: set device.id in the configuration")
	}
	return sample.Registry{Device: device, Labels: c.Device.Labels}, nil
}

// newScheduler makes the collectors that the configuration asks for, and runs
// further ones after them.
func newScheduler(env daemon.Env, reg sample.Registry, further ...sample.Collector) (*schedule.Scheduler, error) {
	c := env.Config
	collectors, err := sample.New(sample.Config{
		FS:     proc.FS{Proc: c.Collection.ProcfsPath, Sys: c.Collection.SysfsPath, Root: c.Collection.RootfsPath},
		Device: reg.Device,
		Labels: reg.Labels,
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
	intervals[agentName] = max(agentInterval, c.Collection.Interval)
	return schedule.New(schedule.Config{Interval: c.Collection.Interval, Intervals: intervals},
		schedule.Deps{Collectors: append(collectors, further...)})
}
