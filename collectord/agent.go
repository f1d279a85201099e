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
	// agentInterval keeps the agent's own numbers from outweighing the device's:
	// they are as many again, and nobody looks at them by the second.
	agentInterval = time.Minute
	// statsFor is how long shipperd's gauges are taken for true after it saved
	// them, which it does as often as they are sampled here.
	statsFor = 3 * agentInterval
)

// agent is the collector of the agent's own numbers: collectord's as they are,
// shipperd's as it last saved them in daemon_stats. It saves collectord's there
// too, so that totals go on after a restart.
type agent struct {
	own      *own
	inserter *store.Inserter
	device   string
	labels   map[string]string
	series   map[string]*store.Series
}

func newAgent(o *own, inserter *store.Inserter, reg sample.Registry) *agent {
	return &agent{own: o, inserter: inserter, device: reg.Device, labels: reg.Labels, series: map[string]*store.Series{}}
}

// Name implements sample.Collector.
func (a *agent) Name() string { return agentName }

// Collect implements sample.Collector.
func (a *agent) Collect(at time.Time, out *sample.Batch) error {
	// The questions take milliseconds, and the scheduler has a deadline for them.
	ctx := context.Background()
	points := a.own.set.Points()
	if err := a.inserter.SaveStats(ctx, metrics.Stats(points)); err != nil {
		out.Fail(err) // a full disk, say; the numbers themselves are fine
	}
	shipper, err := a.inserter.Stats(ctx, "shipperd")
	if err != nil {
		out.Fail(err)
	}
	// A shipperd that is away has its totals still, but a gauge is of the moment.
	shipper = slices.DeleteFunc(shipper, func(s store.Stat) bool {
		return s.Kind == string(metrics.Gauge) && !recent(s, at)
	})
	for _, p := range append(points, metrics.FromStats(shipper)...) {
		out.Add(a.seriesOf(p), p.Value)
	}
	return nil
}

// recent tells whether shipperd saved a number lately. One from the future was
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

// restore makes the totals go on where the last run left them.
func (a *agent) restore(ctx context.Context) error {
	stats, err := a.inserter.Stats(ctx, "collectord")
	if err != nil {
		return err
	}
	a.own.restore(stats)
	return nil
}

// save writes the totals down for the next run.
func (a *agent) save(ctx context.Context) error {
	return a.inserter.SaveStats(ctx, metrics.Stats(a.own.set.Points()))
}
