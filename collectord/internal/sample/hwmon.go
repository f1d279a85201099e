package sample

import (
	"cmp"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// hwmon reads the monitoring chips: in each tick the temperatures and the alarms of voltages, since
// an undervoltage is short, and once a minute the rest. Most chips are at the end of a slow bus,
// where one reading takes a tenth of a millisecond and more.
type hwmon struct {
	sensors *sensorSet
	names   []*Series // of node_exporter: what chips and sensors are called
}

// hwmonMetrics are the metrics of the kinds of sensors.
var hwmonMetrics = map[string]string{
	"temp": "hwmon.temp_celsius", "in": "hwmon.in_volts", "fan": "hwmon.fan_rpm", "curr": "hwmon.curr_amperes", "power": "hwmon.power_watts",
}

// NewHwmon returns the collector "hwmon".
func NewHwmon(fs proc.FS, reg *Registry) Collector {
	c := &hwmon{}
	node := reg.node("hwmon")
	c.sensors = newSensorSet(fs, reg, func() ([]foundSensor, error) {
		sensors, err := proc.HwmonSensors(fs)
		c.names = node.hwmonNames(sensors)
		labels := labelSensors(sensors)
		var found []foundSensor
		for i, s := range sensors {
			if s.Input != nil {
				found = append(found, foundSensor{reader: s.Input, metric: hwmonMetrics[s.Kind], labels: labels[i], rare: s.Slow || s.Kind != "temp", twin: node.hwmonTwin(s, "input")})
				for _, limit := range s.Limits {
					found = appendAttribute(found, limit.Attribute, "hwmon.temp_"+limit.Name+"_celsius", labels[i]...)
					found[len(found)-1].twin = node.hwmonTwin(s, limit.Name)
				}
			}
			for _, alarm := range s.Alarms {
				name := s.Kind // in_lcrit, temp_crit, fan
				if alarm.Name != "" {
					name += "_" + alarm.Name
				}
				found = appendAttribute(found, alarm.Attribute, "hwmon.alarm", labels[i][0], labels[i][1], name)
				found[len(found)-1].rare = s.Slow || s.Kind != "in"
				found[len(found)-1].twin = node.hwmonTwin(s, strings.TrimPrefix(alarm.Name+"_alarm", "_"))
			}
		}
		return found, err
	}, fs.SysPath("class/hwmon"))
	return c
}

// Name implements Collector.
func (c *hwmon) Name() string { return "hwmon" }

// Collect implements Collector. It is proc.ErrNotSupported if the kernel has no
// monitoring chips.
func (c *hwmon) Collect(at time.Time, out *Batch) error {
	err := c.sensors.collect(at, out)
	for _, s := range c.names {
		out.Add(s, 1)
	}
	return err
}

// labelSensors gives each sensor labels that no other has and that are the same
// after the next boot, as far as the hardware is: the number of a hwmon directory
// is not, so that it is the last resort.
func labelSensors(sensors []*proc.HwmonSensor) [][]string {
	chips := make(map[string]string)            // name by directory
	devices := make(map[string]string)          // by directory
	names := make(map[string]map[string]string) // of sensors of a kind, by directory and kind
	for _, s := range sensors {
		chips[s.Dir], devices[s.Dir] = s.Chip, s.Device
		kind := s.Dir + "/" + s.Kind
		if names[kind] == nil {
			names[kind] = make(map[string]string)
		}
		names[kind][s.Name] = cmp.Or(s.Label, s.Name)
	}
	distinguish(chips, "-", func(dir string) string { return devices[dir] })
	distinguish(chips, "-", func(dir string) string { return dir })
	for _, ofKind := range names {
		distinguish(ofKind, " ", func(sensor string) string { return sensor })
	}
	labels := make([][]string, len(sensors))
	for i, s := range sensors {
		labels[i] = []string{chips[s.Dir], names[s.Dir+"/"+s.Kind][s.Name]}
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
