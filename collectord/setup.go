package main

import (
	"errors"
	"os"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/config"
)

// deviceID returns the label device_id of all samples.
func deviceID(c *config.Config) (string, error) {
	device := config.ResolveDeviceID(*c, os.ReadFile, os.Hostname)
	if device == "" {
		return "", errors.New("find a device id: this machine has neither a machine id nor a host name; set device.id in the configuration")
	}
	return device, nil
}

// newScheduler makes the collectors that the configuration enables, and runs
// further ones after them.
func newScheduler(c *config.Config, device string, further ...sample.Collector) (*schedule.Scheduler, error) {
	collectors, err := sample.New(c, device)
	if err != nil {
		return nil, err
	}
	intervals := map[string]time.Duration{agentName: max(agentInterval, c.Collection.Interval)}
	for _, collector := range collectors {
		_, intervals[collector.Name()] = c.Collection.Collector(collector.Name())
	}
	return schedule.New(schedule.Config{Interval: c.Collection.Interval, Intervals: intervals},
		schedule.Deps{Collectors: append(collectors, further...)})
}
