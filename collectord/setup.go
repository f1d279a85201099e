package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/collectord/internal/textfile"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/metrics"
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
	if enabled, _ := c.Collection.Collector(textfile.Name); enabled {
		collectors = append(collectors, textfile.New(c.Collection.Textfile, &sample.Registry{Device: device, Labels: c.Device.Labels}, ownName()))
	}
	ignore, err := sample.NewIgnored(c.Collection.IgnoreSensors)
	if err != nil {
		return nil, err
	}
	intervals := map[string]time.Duration{agentName: max(agentInterval, c.Collection.Interval)}
	for _, collector := range collectors {
		_, intervals[collector.Name()] = c.Collection.Collector(collector.Name())
	}
	return schedule.New(schedule.Config{Interval: c.Collection.Interval, Intervals: intervals, Ignore: ignore},
		schedule.Deps{Collectors: append(collectors, further...)})
}

// ownName returns a function that says which names the project's own metrics have at the server.
func ownName() func(string) bool {
	own := map[string]bool{}
	add := func(m *metrics.Metric) {
		name := strings.ReplaceAll(m.Name, ".", "_")
		own[name] = true
		if m.Kind == metrics.Histogram {
			own[name+"_bucket"], own[name+"_sum"], own[name+"_count"] = true, true, true
		}
	}
	for i := range sample.Table {
		add(&sample.Table[i])
	}
	for _, m := range slices.Concat(metrics.Collectord, metrics.Shipperd) {
		add(m)
	}
	return func(name string) bool { return own[name] }
}

// keptFor is how long before the present a sample can have been taken that file and server keep.
func keptFor(c *config.Config) time.Duration {
	kept := c.Storage.Retention
	if past := c.Remote.MaxPast; past > 0 && (kept == 0 || past < kept) {
		kept = past
	}
	return kept
}
