package sample

import (
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// load reads /proc/loadavg.
type load struct {
	loadavg            *proc.Reader[proc.Loadavg]
	one, five, fifteen *Series
}

// NewLoad returns the collector "load".
func NewLoad(fs proc.FS, reg *Registry) Collector {
	return &load{
		loadavg: proc.NewLoadavg(fs),
		one:     reg.Series("load.average_1m"),
		five:    reg.Series("load.average_5m"),
		fifteen: reg.Series("load.average_15m"),
	}
}

// Name implements Collector.
func (c *load) Name() string { return "load" }

// Collect implements Collector.
func (c *load) Collect(_ time.Time, out *Batch) error {
	l, err := c.loadavg.Read()
	if l == nil {
		return err
	}
	out.Add(c.one, l.One)
	out.Add(c.five, l.Five)
	out.Add(c.fifteen, l.Fifteen)
	return out.part(err)
}
