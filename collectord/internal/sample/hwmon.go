package sample

import (
	"cmp"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// hwmon reads the temperatures of the monitoring chips.
type hwmon struct{ sensors *sensorSet }

// NewHwmon returns the collector "hwmon".
func NewHwmon(fs proc.FS, reg *Registry) Collector {
	return &hwmon{newSensorSet(reg, "hwmon.temp_celsius", fs.SysPath("class/hwmon"), func() ([]foundSensor, error) {
		sensors, err := proc.HwmonSensors(fs)
		labels := labelSensors(sensors)
		found := make([]foundSensor, len(sensors))
		for i, s := range sensors {
			found[i] = foundSensor{reader: s, labels: labels[i]}
		}
		return found, err
	})}
}

// Name implements Collector.
func (c *hwmon) Name() string { return "hwmon" }

// Collect implements Collector. It is proc.ErrNotSupported if the kernel has no
// monitoring chips.
func (c *hwmon) Collect(at time.Time, out *Batch) error { return c.sensors.collect(at, out) }

// labelSensors gives each sensor labels that no other has and that are the same
// after the next boot, as far as the hardware is: the number of a hwmon directory
// is not, so that it is the last resort.
func labelSensors(sensors []*proc.HwmonSensor) [][]string {
	chips := make(map[string]string)            // name by directory
	devices := make(map[string]string)          // by directory
	names := make(map[string]map[string]string) // of sensors, by directory and number
	for _, s := range sensors {
		if names[s.Dir] == nil {
			chips[s.Dir], devices[s.Dir] = s.Chip, s.Device
			names[s.Dir] = make(map[string]string)
		}
		names[s.Dir][s.Name] = cmp.Or(s.Label, s.Name)
	}
	distinguish(chips, "-", func(dir string) string { return devices[dir] })
	distinguish(chips, "-", func(dir string) string { return dir })
	for _, ofChip := range names {
		distinguish(ofChip, " ", func(sensor string) string { return sensor })
	}
	labels := make([][]string, len(sensors))
	for i, s := range sensors {
		labels[i] = []string{chips[s.Dir], names[s.Dir][s.Name]}
	}
	return labels
}

// distinguish appends a suffix to each name of several keys, to
// all of them, so that none depends on the order.
func distinguish(names map[string]string, separator string, suffix func(key string) string) {
	count := make(map[string]int)
	for _, name := range names {
		count[name]++
	}
	for key, name := range names {
		if extra := suffix(key); count[name] > 1 && extra != "" {
			names[key] = name + separator + extra
		}
	}
}
