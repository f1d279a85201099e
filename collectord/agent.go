package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

const (
	agentName = "agent"
	// agentInterval keeps the self-metrics from outweighing the device's metrics: they
	// are as many again, and are rarely looked at by the second.
	agentInterval = time.Minute
	// statsFor is how long shipperd's gauges are valid after it saved them, which it
	// does as often as they are sampled here.
	statsFor = 3 * agentInterval
)

// agent is the collector of both daemons' self-metrics: collectord's as they are,
// shipperd's as it last saved them in daemon_stats. It only reads: the recorder
// saves collectord's.
type agent struct {
	self     *selfMetrics
	inserter *store.Inserter
	device   string
	labels   map[string]string
	series   map[string]*store.Series
}

func newAgent(self *selfMetrics, inserter *store.Inserter, device string, labels map[string]string) *agent {
	return &agent{self: self, inserter: inserter, device: device, labels: labels, series: map[string]*store.Series{}}
}

// Name implements sample.Collector.
func (a *agent) Name() string { return agentName }

// Collect implements sample.Collector.
func (a *agent) Collect(at time.Time, out *sample.Batch) error {
	// The query takes a millisecond, and the scheduler has a deadline for it.
	shipper, err := a.inserter.Stats(context.Background(), "shipperd")
	if err != nil {
		out.Fail(err)
	}
	// While shipperd is not running its totals are still valid, but its gauges are not.
	shipper = slices.DeleteFunc(shipper, func(s store.Stat) bool {
		return s.Kind == string(metrics.Gauge) && !recent(s, at)
	})
	for _, p := range append(a.self.set.Points(), metrics.FromStats(shipper)...) {
		out.Samples = append(out.Samples, store.Sample{Series: a.seriesOf(p), Value: p.Value})
	}
	return nil
}

// recent reports whether shipperd saved a metric lately. One from the future was
// saved before the clock was set back.
func recent(s store.Stat, at time.Time) bool { return at.Sub(s.Updated).Abs() <= statsFor }

func (a *agent) seriesOf(p metrics.Point) *store.Series {
	key := p.Name + fmt.Sprint(p.Tags)
	s := a.series[key]
	if s == nil {
		tags := make([]store.Tag, 0, len(a.labels)+len(p.Tags))
		for name, value := range a.labels {
			tags = append(tags, store.Tag{Name: name, Value: value})
		}
		s = store.NewSeries(a.device, p.Name, store.Number, append(tags, p.Tags...)...)
		a.series[key] = s
	}
	return s
}
