package sample

import (
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// Numbers of the metrics in wirelessMetrics.
const (
	wirelessQuality = iota
	wirelessSignal
	wirelessNoise
	wirelessMetricCount
)

var wirelessLabels = []string{"interface"}

var wirelessMetrics = []*Metric{
	wirelessQuality: {
		Name: "wireless.link_quality", Kind: KindGauge, Labels: wirelessLabels,
		Help:   "Quality of the link on a scale of the driver's own, 0 to 70 for most; 0 without a link.",
		Source: "/proc/net/wireless", Collector: "wireless",
	},
	wirelessSignal: {
		Name: "wireless.signal_dbm", Kind: KindGauge, Unit: "dBm", Labels: wirelessLabels,
		Help:   "Strength of the received signal, about -30 (beside the access point) to -90 (barely there). No sample without a link, nor where the driver has no dBm.",
		Source: "/proc/net/wireless", Collector: "wireless",
	},
	wirelessNoise: {
		Name: "wireless.noise_dbm", Kind: KindGauge, Unit: "dBm", Labels: wirelessLabels,
		Help:   "Strength of the noise. Most drivers do not measure it and have no sample.",
		Source: "/proc/net/wireless", Collector: "wireless",
	},
}

// wireless reads /proc/net/wireless.
type wireless struct {
	stats   *proc.Wireless
	devices *devices[[wirelessMetricCount]*store.Series]
}

// NewWireless returns the collector "wireless".
func NewWireless(fs proc.FS, reg *Registry) Collector {
	return &wireless{
		stats: proc.NewWireless(fs),
		devices: newDevices(func(name string) *[wirelessMetricCount]*store.Series {
			var series [wirelessMetricCount]*store.Series
			for i, m := range wirelessMetrics {
				series[i] = reg.Series(m, labelText(name))
			}
			return &series
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
		out.Add(series[wirelessQuality], stats[i].Quality)
		if dBm, ok := proc.SignalDBm(stats[i].Level); ok {
			out.Add(series[wirelessSignal], dBm)
		}
		if dBm, ok := proc.SignalDBm(stats[i].Noise); ok {
			out.Add(series[wirelessNoise], dBm)
		}
	}
	c.devices.end()
	return nil
}
