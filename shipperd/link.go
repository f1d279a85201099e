package main

import (
	"context"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/meter"
)

// linkMeter knows what the requests of this process cost, and how sparing to be.
type linkMeter struct {
	*meter.Meter
	use health.Remembered[link.Use]
	// carried is the interface of the last run's uploads, for the time before the first one of this
	// run: without it the series would end with each restart.
	carried string
}

// meterLink makes a meter whose counts the file gets.
func meterLink(outbox *store.Outbox, c config.RemoteConfig) *linkMeter {
	m := &linkMeter{Meter: meter.New()}
	m.use.Read = func(ctx context.Context) (link.Use, error) { return link.Read(ctx, outbox, c) }
	outbox.MeterTraffic(m.Total, clock.Read)
	return m
}

// thrift is how sparing to be, as last known.
func (m *linkMeter) thrift(ctx context.Context) link.Thrift {
	use, _ := m.use.Get(ctx) // an error of the file is a condition already
	return use.Thrift
}

// metrics adds what the link costs to the self-metrics.
func (m *linkMeter) metrics(set *metrics.Set) {
	set.Func(&metrics.LinkBytes, func(emit func(float64, ...string)) {
		sent, received := m.Total()
		emit(float64(sent), "sent")
		emit(float64(received), "received")
	})
	gauge := func(metric *metrics.Metric, of func(link.Use) (value float64, known bool)) {
		set.Func(metric, func(emit func(float64, ...string)) {
			if use, err := m.use.Get(context.Background()); err == nil {
				if v, known := of(use); known {
					emit(v)
				}
			}
		})
	}
	gauge(&metrics.LinkMonth, func(u link.Use) (float64, bool) { return float64(u.Month), true })
	gauge(&metrics.LinkForecast, func(u link.Use) (float64, bool) { return float64(u.Forecast), u.Forecast > 0 })
	gauge(&metrics.LinkBudgetUsed, func(u link.Use) (float64, bool) { return float64(u.Month) / float64(u.Budget), u.Budget > 0 })
	gauge(&metrics.LinkInterval, func(u link.Use) (float64, bool) { return u.Interval.Seconds(), true })
	set.Func(&metrics.LinkInterface, func(emit func(float64, ...string)) {
		name := meter.Interface(m.Local())
		if !m.Local().IsValid() {
			name = m.carried
		}
		if name != "" {
			emit(1, name)
		}
	})
}

// judge adds what the health of the uploads has to know.
func (m *linkMeter) judge(ctx context.Context, in *health.Input) {
	use, err := m.use.Get(ctx)
	if err != nil {
		return
	}
	in.Stretch = use.Slack()
	if !use.Lasts() {
		in.Uploader.Found = append(in.Uploader.Found, health.LinkBudget.Active(time.Time{}, link.MB(use.Month), link.MB(use.Budget), link.MB(use.Forecast)))
	}
}
