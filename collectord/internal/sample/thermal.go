package sample

import (
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// thermal reads the thermal zones.
type thermal struct{ zones *sensorSet }

// NewThermal returns the collector "thermal".
func NewThermal(fs proc.FS, reg *Registry) Collector {
	return &thermal{newSensorSet(reg, "thermal.zone_celsius", fs.SysPath("class/thermal"), func() ([]foundSensor, error) {
		zones, err := proc.ThermalZones(fs)
		found := make([]foundSensor, len(zones))
		for i, z := range zones {
			found[i] = foundSensor{reader: z, labels: []string{z.Name, z.Type}}
		}
		return found, err
	})}
}

// Name implements Collector.
func (c *thermal) Name() string { return "thermal" }

// Collect implements Collector. It is proc.ErrNotSupported if the kernel has no
// thermal zones.
func (c *thermal) Collect(at time.Time, out *Batch) error { return c.zones.collect(at, out) }
