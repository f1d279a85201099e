package page

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/store"
)

// board is what needs attention of the hardware and the services. A device without a source lacks
// its key.
type board struct {
	Limits        []limit  `json:"limits,omitempty"` // undervoltage and throttling of today
	ServicesDown  []string `json:"services_down,omitempty"`
	EMMC          []emmc   `json:"emmc,omitempty"`
	WatchdogReset bool     `json:"watchdog_reset,omitempty"` // it was the watchdog that restarted the machine
	DefaultRoute  string   `json:"default_route,omitempty"`  // its interface, of IPv4 if both have one
}

// limit is a reason for which the machine is or was slowed down, or near to it.
type limit struct {
	Reason   string    `json:"reason"` // as the label of throttling.active
	Active   bool      `json:"active"`
	Events   int       `json:"events"` // how often it began today
	Last     time.Time `json:"last,omitzero"`
	Counting bool      `json:"counting,omitempty"` // the day is not counted to its end yet
}

type emmc struct {
	Device   string   `json:"device"`
	LifeUsed *float64 `json:"life_used_percent,omitempty"` // at least, of the memory with more
	PreEOL   float64  `json:"pre_eol,omitempty"`           // 1 normal, 2 and 3: spare blocks run out
}

// The metrics that the page looks at (docs/metrics.md).
const (
	throttlingActive = "throttling.active"
	hwmonAlarm       = "hwmon.alarm"
	emmcLifeUsed     = "emmc.life_used_percent"
	emmcPreEOL       = "emmc.pre_eol"
	watchdogBoot     = "watchdog.boot_status"
	servicesUp       = "services.up"
	defaultRoute     = "network.default_route"

	undervoltage      = "undervoltage"
	undervoltageAlarm = "in_lcrit" // of the sensor of a Raspberry Pi, and of power supplies
	watchdogBit       = 32
)

var boardMetrics = []string{throttlingActive, hwmonAlarm, emmcLifeUsed, emmcPreEOL, watchdogBoot, servicesUp, defaultRoute}

const (
	boardEvery = 10 * time.Second
	boardAge   = 130 * time.Second // some values are sampled once a minute
)

// readBoard reads the newest values, and counts on in the day's events.
func (p *Page) readBoard(ctx context.Context, r *store.Reader) (b board, err error) {
	series, _, err := r.SeriesNamed(ctx, p.device(), boardMetrics, maxSeries)
	if err != nil || len(series) == 0 {
		return b, err
	}
	now, err := p.now(ctx, r)
	if err != nil {
		return b, err
	}
	sources := map[int64]boardSource{}
	var ids []int64
	reasons := map[int64]string{}
	for _, s := range series {
		src := boardSource{s.Name, tagsOf(s)}
		if s.Name == hwmonAlarm && src.tags["alarm"] != undervoltageAlarm {
			continue
		}
		if reason := src.reason(); reason != "" {
			reasons[s.ID] = reason
		}
		ids, sources[s.ID] = append(ids, s.ID), src
	}
	newest := map[int64]float64{}
	age := max(boardAge, 5*p.cfg.Config.Collection.Interval/2)
	err = r.Probe(ctx, ids, now.Add(-age).UnixMilli(), now.UnixMilli()+1, boardEvery.Milliseconds(), func(id, _ int64, value float64) { newest[id] = value })
	if err != nil {
		return b, err
	}
	slices.Sort(ids)
	var active []string
	for _, id := range ids {
		value, ok := newest[id]
		if !ok || math.IsInf(value, 0) { // which has no JSON
			continue
		}
		if reasons[id] == "" {
			b.add(sources[id], value)
		} else if value != 0 {
			active = append(active, reasons[id])
		}
	}
	slices.Sort(b.ServicesDown)
	if err := p.tally.count(ctx, r, reasons, now); err != nil {
		return b, err
	}
	b.Limits = p.tally.limits(reasons, active)
	return b, nil
}

// boardSource is a series of boardMetrics.
type boardSource struct {
	name string
	tags map[string]string
}

// reason is why the machine is slowed down while the series is not 0; "" for other series.
func (s boardSource) reason() string {
	switch s.name {
	case throttlingActive:
		return s.tags["reason"]
	case hwmonAlarm:
		return undervoltage
	}
	return ""
}

func (b *board) add(s boardSource, value float64) {
	switch s.name {
	case servicesUp:
		if value == 0 {
			b.ServicesDown = append(b.ServicesDown, s.tags["service"])
		}
	case watchdogBoot:
		b.WatchdogReset = b.WatchdogReset || int(value)&watchdogBit != 0
	case defaultRoute:
		if value == 1 && (b.DefaultRoute == "" || s.tags["family"] == "ipv4") {
			b.DefaultRoute = s.tags["interface"]
		}
	case emmcLifeUsed, emmcPreEOL:
		i := slices.IndexFunc(b.EMMC, func(e emmc) bool { return e.Device == s.tags["device"] })
		if i < 0 {
			b.EMMC = append(b.EMMC, emmc{Device: s.tags["device"]})
			i = len(b.EMMC) - 1
		}
		if s.name == emmcPreEOL {
			b.EMMC[i].PreEOL = value
		} else if used := b.EMMC[i].LifeUsed; used == nil || *used < value {
			b.EMMC[i].LifeUsed = &value
		}
	}
}

// tally counts how often each reason began since midnight by the device's clock. It reads each part
// of the day once, the first time in portions: a day of samples would cost as much as many charts.
type tally struct {
	midnight, next int64 // ms; what is before next is counted
	counted        map[int64]*events
	done           bool
}

// events are the changes of a series from 0.
type events struct {
	n         int
	on        bool
	at, began int64 // ms, of the newest sample and of the newest event
}

const (
	tallyLag = 30 * time.Second // ticks are stored a moment after their time
	tallyGap = 5 * time.Minute  // without samples, after which the reason begins anew
)

func (t *tally) count(ctx context.Context, r *store.Reader, reasons map[int64]string, now time.Time) error {
	year, month, day := now.Date()
	midnight := time.Date(year, month, day, 0, 0, 0, 0, now.Location()).UnixMilli()
	if midnight != t.midnight {
		*t = tally{midnight: midnight, next: midnight, counted: map[int64]*events{}}
	}
	end := now.Add(-tallyLag).UnixMilli()
	to := min(end, t.next+int64(maxCost/(len(reasons)+probeCost))*boardEvery.Milliseconds())
	ids := make([]int64, 0, len(reasons))
	for id := range reasons {
		ids = append(ids, id)
	}
	err := r.Probe(ctx, ids, t.next, to, boardEvery.Milliseconds(), func(id, ms int64, value float64) {
		e := t.counted[id]
		if e == nil {
			e = &events{}
			t.counted[id] = e
		}
		e.add(ms, value != 0)
	})
	if err != nil {
		return err
	}
	t.next, t.done = max(t.next, to), to >= end
	return nil
}

func (e *events) add(ms int64, on bool) {
	if on && (!e.on || ms-e.at > tallyGap.Milliseconds()) {
		e.n++
		e.began = ms
	}
	e.on, e.at = on, ms
}

// limits are the reasons that began today or hold now. Two sources of one reason see the same
// events, so they are not added.
func (t *tally) limits(reasons map[int64]string, active []string) (all []limit) {
	of := map[string]*limit{}
	for id, reason := range reasons {
		l := of[reason]
		if l == nil {
			l = &limit{Reason: reason, Active: slices.Contains(active, reason), Counting: !t.done}
			of[reason] = l
		}
		if e := t.counted[id]; e != nil && e.n > 0 {
			l.Events = max(l.Events, e.n)
			if began := time.UnixMilli(e.began).UTC(); began.After(l.Last) {
				l.Last = began
			}
		}
	}
	for _, l := range of {
		if l.Active || l.Events > 0 {
			all = append(all, *l)
		}
	}
	slices.SortFunc(all, func(a, b limit) int { return strings.Compare(a.Reason, b.Reason) })
	return all
}
