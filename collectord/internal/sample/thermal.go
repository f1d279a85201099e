package sample

import (
	"time"

	"belabox-metrics/collectord/internal/proc"
)

var thermalMetrics = []*Metric{{
	Name: "thermal.zone_celsius", Kind: KindGauge, Unit: "celsius", Labels: []string{"zone", "type"},
	Help:   "Temperature of a thermal zone: the SoC, a cluster of cores, the GPU, the NPU. `zone` is the kernel's name for it, whose number may be another one after a boot, `type` the driver's. A zone that does not answer, or with less than -100 or more than 250 °C, has no sample and is an error of its own.",
	Source: "/sys/class/thermal/thermal_zone*/temp", Collector: "thermal",
}}

// thermal reads the thermal zones.
type thermal struct{ zones *thermometers }

// NewThermal returns the collector "thermal".
func NewThermal(fs proc.FS, reg *Registry) Collector {
	return &thermal{newThermometers(reg, thermalMetrics[0], fs.SysPath("class/thermal"), func() ([]foundSensor, error) {
		zones, err := proc.ThermalZones(fs)
		found := make([]foundSensor, len(zones))
		for i, z := range zones {
			found[i] = foundSensor{thermometer: z, labels: []string{z.Name, z.Type}}
		}
		return found, err
	})}
}

// Name implements Collector.
func (c *thermal) Name() string { return "thermal" }

// Collect implements Collector. It is proc.ErrNotSupported if the kernel has no
// thermal zones.
func (c *thermal) Collect(at time.Time, out *Batch) error { return c.zones.collect(at, out) }
