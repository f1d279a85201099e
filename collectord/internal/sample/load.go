package sample

import (
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

var (
	load1 = Metric{
		Name: "load.average_1m", Kind: KindGauge,
		Help:   "Mean number of tasks that ran, waited for a core or waited for a disk, over about 1 minute.",
		Source: "/proc/loadavg", Collector: "load",
	}
	load5 = Metric{
		Name: "load.average_5m", Kind: KindGauge,
		Help:   "The same over about 5 minutes.",
		Source: "/proc/loadavg", Collector: "load",
	}
	load15 = Metric{
		Name: "load.average_15m", Kind: KindGauge,
		Help:   "The same over about 15 minutes.",
		Source: "/proc/loadavg", Collector: "load",
	}
)

var loadMetrics = []*Metric{&load1, &load5, &load15}

// load reads /proc/loadavg.
type load struct {
	loadavg            *proc.Reader[proc.Loadavg]
	one, five, fifteen *store.Series
}

// NewLoad returns the collector "load".
func NewLoad(fs proc.FS, reg *Registry) Collector {
	return &load{
		loadavg: proc.NewLoadavg(fs),
		one:     reg.Series(&load1),
		five:    reg.Series(&load5),
		fifteen: reg.Series(&load15),
	}
}

// Name implements Collector.
func (c *load) Name() string { return "load" }

// Collect implements Collector.
func (c *load) Collect(_ time.Time, out *Batch) error {
	l, err := c.loadavg.Read()
	if err != nil {
		return err
	}
	out.Add(c.one, l.One)
	out.Add(c.five, l.Five)
	out.Add(c.fifteen, l.Fifteen)
	return nil
}
