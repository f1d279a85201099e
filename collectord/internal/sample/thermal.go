package sample

import (
	"cmp"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// thermal reads the thermal zones and what cools them.
type thermal struct{ zones *sensorSet }

// NewThermal returns the collector "thermal".
func NewThermal(fs proc.FS, reg *Registry) Collector {
	return &thermal{newSensorSet(fs, reg, func() ([]foundSensor, error) {
		zones, err := proc.ThermalZones(fs)
		var found []foundSensor
		for _, z := range zones {
			found = append(found, foundSensor{reader: z, metric: "thermal.zone_celsius", labels: []string{z.Name, z.Type}})
		}
		cooling, coolingErr := proc.CoolingDevices(fs)
		for _, d := range cooling {
			found = appendAttribute(found, d.State, "thermal.cooling_state", d.Name, d.Type)
			found = appendAttribute(found, d.MaxState, "thermal.cooling_max_state", d.Name, d.Type)
		}
		return found, cmp.Or(err, coolingErr)
	}, fs.SysPath("class/thermal"))}
}

// Name implements Collector.
func (c *thermal) Name() string { return "thermal" }

// Collect implements Collector. It is proc.ErrNotSupported if the kernel has no
// thermal zones.
func (c *thermal) Collect(at time.Time, out *Batch) error { return c.zones.collect(at, out) }
