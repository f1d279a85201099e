package sample

import (
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// wireless reads /proc/net/wireless.
type wireless struct {
	stats   *proc.Wireless
	devices *devices[wirelessSeries]
}

// wirelessSeries are those of one interface.
type wirelessSeries struct{ quality, signal, noise *Series }

// NewWireless returns the collector "wireless".
func NewWireless(fs proc.FS, reg *Registry) Collector {
	return &wireless{
		stats: proc.NewWireless(fs),
		devices: newDevices(func(name string) *wirelessSeries {
			label := labelText(name)
			return &wirelessSeries{
				quality: reg.Series("wireless.link_quality", label),
				signal:  reg.Series("wireless.signal_dbm", label),
				noise:   reg.Series("wireless.noise_dbm", label),
			}
		}),
	}
}

// Name implements Collector.
func (c *wireless) Name() string { return "wireless" }

// Collect implements Collector. It is proc.ErrNotSupported if the kernel has no
// wireless extensions.
func (c *wireless) Collect(_ time.Time, out *Batch) error {
	stats, err := c.stats.Read()
	if err := out.failPart(len(stats), err); err != nil {
		return err
	}
	c.devices.begin()
	for i := range stats {
		series, _ := c.devices.see(stats[i].Name)
		if series == nil {
			continue
		}
		out.Add(series.quality, stats[i].Quality)
		if dBm, ok := proc.SignalDBm(stats[i].Level); ok {
			out.Add(series.signal, dBm)
		}
		if dBm, ok := proc.SignalDBm(stats[i].Noise); ok {
			out.Add(series.noise, dBm)
		}
	}
	c.devices.end()
	return nil
}
