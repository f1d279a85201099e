package page

import (
	"context"
	"time"

	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// totals are derived from the self-metrics of the last day, which are stored once a minute; nil
// where they are missing.
type totals struct {
	Traffic       *traffic `json:"traffic,omitempty"`
	WrittenPerDay *perDay  `json:"written_per_day,omitempty"` // to the disk, by both daemons
	RowsPerDay    *perDay  `json:"rows_per_day,omitempty"`    // committed by collectord
	BacklogPeak   *peak    `json:"backlog_peak,omitempty"`    // of the backlog there is now
}

// traffic is on the wire between shipperd and the server, with headers and queries.
type traffic struct {
	TodayFrom     time.Time `json:"today_from"` // midnight by the device's clock, or the first sample after it
	TodaySent     int64     `json:"today_sent_bytes"`
	TodayReceived int64     `json:"today_received_bytes"`
	PerMonth      *perDay   `json:"per_month,omitempty"` // both directions; a forecast for 30 days
}

// perDay is a forecast.
type perDay struct {
	Value        float64 `json:"value"`
	BasisSeconds float64 `json:"basis_seconds"` // how long it was measured for
}

type peak struct {
	Rows float64   `json:"rows"`
	Time time.Time `json:"time"`
}

// minBasis is the least time that a forecast is made from.
const minBasis = 15 * time.Minute

// increase sums the increases of a counter, which falls back a little when a daemon was killed.
type increase struct {
	first, last           int64 // ms
	value                 float64
	total, today          float64
	todayFrom, beganToday int64 // ms: midnight, and the first sample after it
}

func (g *increase) add(ms int64, value float64) {
	switch {
	case g.first == 0:
		g.first = ms
	case value > g.value:
		g.total += value - g.value
		if ms > g.todayFrom {
			g.today += value - g.value
		}
	}
	if ms >= g.todayFrom && g.beganToday == 0 {
		g.beganToday = max(g.todayFrom, g.first)
		if g.last != 0 {
			g.beganToday = g.todayFrom
		}
	}
	g.last, g.value = ms, value
}

// readTotals reads a day of self-metrics, one sample a minute.
func (p *Page) readTotals(ctx context.Context, r *store.Reader) (t totals, err error) {
	now := p.cfg.Now()
	names := []string{
		metrics.BytesSent.Name, metrics.BytesReceived.Name, metrics.BytesWritten.Name, metrics.Collected.Name, metrics.Pending.Name,
	}
	series, _, err := r.SeriesNamed(ctx, p.device(), names, maxSeries)
	if err != nil {
		return t, err
	}
	year, month, day := now.Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, now.Location()).UnixMilli()
	nameOf, grown := map[int64]string{}, map[int64]*increase{}
	ids := make([]int64, len(series))
	for i, s := range series {
		ids[i], nameOf[s.ID] = s.ID, s.Name
		grown[s.ID] = &increase{todayFrom: midnight}
	}
	backlog := &rise{}
	from := now.Add(-24 * time.Hour).UnixMilli()
	err = r.Probe(ctx, ids, from, now.UnixMilli()+1, time.Minute.Milliseconds(), func(id, ms int64, value float64) {
		if nameOf[id] == metrics.Pending.Name {
			backlog.add(ms, value, float64(p.cfg.Config.Remote.BatchSize))
			return
		}
		grown[id].add(ms, value)
	})
	if err != nil {
		return t, err
	}
	sum := func(name string) (all increase) {
		for id, g := range grown {
			if nameOf[id] != name || g.first == 0 {
				continue
			}
			all.total += g.total
			all.today += g.today
			if all.first == 0 || g.first < all.first {
				all.first, all.beganToday = g.first, g.beganToday
			}
			all.last = max(all.last, g.last)
		}
		return all
	}
	t.Traffic = trafficOf(sum(metrics.BytesSent.Name), sum(metrics.BytesReceived.Name))
	t.WrittenPerDay = sum(metrics.BytesWritten.Name).over(1)
	t.RowsPerDay = sum(metrics.Collected.Name).over(1)
	if backlog.at != 0 {
		t.BacklogPeak = &peak{backlog.peak, time.UnixMilli(backlog.at).UTC()}
	}
	return t, nil
}

func trafficOf(sent, received increase) *traffic {
	if sent.beganToday == 0 {
		return nil
	}
	t := &traffic{TodayFrom: time.UnixMilli(sent.beganToday).UTC(), TodaySent: int64(sent.today), TodayReceived: int64(received.today)}
	sent.total += received.total
	t.PerMonth = sent.over(30)
	return t
}

// over makes a forecast for so many days; nil with less than minBasis of samples.
func (g increase) over(days float64) *perDay {
	basis := time.Duration(g.last-g.first) * time.Millisecond
	if basis < minBasis {
		return nil
	}
	return &perDay{Value: g.total / basis.Hours() * 24 * days, BasisSeconds: basis.Seconds()}
}

// rise finds the peak of the present backlog: the maximum since the pending rows were last one
// batch or less.
type rise struct {
	peak float64
	at   int64 // ms
}

func (r *rise) add(ms int64, value, batch float64) {
	switch {
	case value <= batch:
		*r = rise{}
	case value >= r.peak:
		r.peak, r.at = value, ms
	}
}
