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
	writtenPerDay *perDay // to the disk, by both daemons
	rowsPerDay    *perDay // committed by collectord
	backlog       rise
}

// perDay is a forecast.
type perDay struct {
	Value        float64 `json:"value"`
	BasisSeconds float64 `json:"basis_seconds"` // how long it was measured for
}

// minBasis is the least time that a forecast is made from.
const minBasis = 15 * time.Minute

// increase sums the increases of a counter, which falls back a little when a daemon was killed.
type increase struct {
	first, last  int64 // ms
	value, total float64
}

func (g *increase) add(ms int64, value float64) {
	switch {
	case g.first == 0:
		g.first = ms
	case value > g.value:
		g.total += value - g.value
	}
	g.last, g.value = ms, value
}

// readTotals reads a day of self-metrics, one sample a minute.
func (p *Page) readTotals(ctx context.Context, r *store.Reader) (t totals, err error) {
	now, err := p.now(ctx, r)
	if err != nil {
		return t, err
	}
	names := []string{metrics.BytesWritten.Name, metrics.Collected.Name, metrics.Pending.Name}
	series, _, err := r.SeriesNamed(ctx, p.device(), names, maxSeries)
	if err != nil {
		return t, err
	}
	nameOf, grown := map[int64]string{}, map[int64]*increase{}
	ids := make([]int64, len(series))
	for i, s := range series {
		ids[i], nameOf[s.ID] = s.ID, s.Name
		grown[s.ID] = &increase{}
	}
	from := now.Add(-24 * time.Hour).UnixMilli()
	err = r.Probe(ctx, ids, from, now.UnixMilli()+1, time.Minute.Milliseconds(), func(id, ms int64, value float64) {
		if nameOf[id] == metrics.Pending.Name {
			t.backlog.add(value, float64(p.cfg.Config.Remote.BatchSize))
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
			if all.first == 0 || g.first < all.first {
				all.first = g.first
			}
			all.last = max(all.last, g.last)
		}
		return all
	}
	t.writtenPerDay = sum(metrics.BytesWritten.Name).perDay()
	t.rowsPerDay = sum(metrics.Collected.Name).perDay()
	return t, nil
}

// perDay makes a forecast; nil with less than minBasis of samples.
func (g increase) perDay() *perDay {
	basis := time.Duration(g.last-g.first) * time.Millisecond
	if basis < minBasis {
		return nil
	}
	return &perDay{Value: g.total / basis.Hours() * 24, BasisSeconds: basis.Seconds()}
}

// rise is the peak of the present backlog: the maximum since the pending rows were last one batch
// or less. 0 = there is none.
type rise float64

func (r *rise) add(value, batch float64) {
	if *r = max(*r, rise(value)); value <= batch {
		*r = 0
	}
}
