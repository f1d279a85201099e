package config

import (
	"slices"
	"time"
)

var collectorNames = [...]string{
	"cpu", "memory", "disk", "network", "thermal", "hwmon", "load", "system",
	"filesystem", "pressure", "wireless",
}

// CollectorNames returns the names that collection.collectors knows.
func CollectorNames() []string { return slices.Clone(collectorNames[:]) }

// Collector says whether the named collector runs and at which interval, with the
// defaults filled in.
func (c *CollectionConfig) Collector(name string) (enabled bool, interval time.Duration) {
	own := c.Collectors[name]
	enabled = own.Enabled == nil || *own.Enabled
	interval = own.Interval
	if interval == 0 {
		interval = c.Interval
	}
	return enabled, interval
}
