package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/link"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// vitals is what the recorder notes for the health report. Safe for use by several goroutines.
type vitals struct {
	mu         sync.Mutex
	sources    map[string]health.Collector
	interfaces interfaces
	absences   absences
	storeError string // of the last tick; "" = it was stored
	storeSince time.Time
	storeLost  int          // ticks since then
	moment     clock.Moment // of the last tick
	fileEnded  bool         // and it was refused
}

func newVitals() *vitals {
	return &vitals{sources: map[string]health.Collector{}, interfaces: newInterfaces(), absences: newAbsences()}
}

// tick notes the results of a tick. A collector without a source on this machine is left out of the
// report.
func (v *vitals) tick(t *schedule.Tick) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.moment = t.Moment
	v.absences.tick(t)
	for i := range t.Results {
		r := &t.Results[i]
		v.interfaces.tick(t.Time, r)
		if r.Unsupported {
			delete(v.sources, r.Collector)
			continue
		}
		c := v.sources[r.Collector]
		c.Name, c.Self = r.Collector, r.Collector == agentName
		err := r.Err
		if err == nil && len(r.Errors) > 0 {
			err = fmt.Errorf("%d failed, the first: %w", len(r.Errors), r.Errors[0])
		}
		c.Failing = failingNames(r.Errors)
		if err == nil {
			c.LastSuccess, c.FailingSince, c.Error = t.Time.UTC(), time.Time{}, ""
		} else {
			c.Error = err.Error()
			if c.FailingSince.IsZero() {
				c.FailingSince = t.Time.UTC()
			}
		}
		v.sources[r.Collector] = c
	}
}

// maxFailing bounds how many names of failing sensors and values a report has for one collector.
const maxFailing = 16

// failingNames returns the names for collection.ignore_sensors, each once.
func failingNames(errs []error) []string {
	var names []string
	for _, err := range errs {
		if fault, ok := errors.AsType[*sample.Fault](err); ok && fault.Name() != "" {
			names = append(names, fault.Name())
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), maxFailing)]
}

// stored notes whether the tick could be stored.
func (v *vitals) stored(at time.Time, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil {
		v.storeError, v.storeLost = "", 0
		return
	}
	if v.storeLost++; v.storeLost == 1 {
		v.storeSince = at.UTC()
	}
	v.storeError = err.Error()
}

// ended notes whether no key is left for the tick.
func (v *vitals) ended(yes bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fileEnded = yes
}

// clocks returns the moment of the last tick, zero before the first.
func (v *vitals) clocks() clock.Moment {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.moment
}

func (v *vitals) collectors(now time.Time) *health.Collectors {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := slices.Collect(maps.Values(v.sources))
	slices.SortFunc(list, func(a, b health.Collector) int { return strings.Compare(a.Name, b.Name) })
	return &health.Collectors{List: list, Found: slices.Concat(v.interfaces.conditions(now), v.absences.conditions(now, v.interfaces.gone))}
}

// notStored is the condition of the last tick, if it was not stored.
func (v *vitals) notStored() []health.Active {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.storeError == "" {
		return nil
	}
	ticks := "1 tick"
	if v.storeLost > 1 {
		ticks = fmt.Sprintf("%d ticks", v.storeLost)
	}
	return []health.Active{health.TicksNotStored.Active(v.storeSince, ticks, v.storeError)}
}

// healthSource returns the state of collectord: its collectors, the file, and the self-metrics that
// shipperd left there.
func healthSource(c config.Config, v *vitals, inserter *store.Inserter) health.Source {
	backlog := &health.Remembered[store.Backlog]{Read: inserter.Backlog}
	return func(ctx context.Context) health.Input {
		storage := health.StorageOf(ctx, c.Storage, backlog)
		shipper, _ := inserter.Stats(ctx, "shipperd") // an error of the file is a condition already
		storage.Found = slices.Concat(storage.Found, v.notStored(), shipperAway(c, shipper), walLarge(c, storage.WALBytes))
		at := clockOf(c, shipper, time.Now())
		at.Synchronised = v.clocks().Sync == clock.Yes
		at.Found = slices.Concat(at.Found, v.noKeys(), clockUnset(c, v.clocks(), func() (store.Timeline, error) { return inserter.Timeline(ctx) }))
		return health.Input{Collectors: v.collectors(time.Now()), Storage: storage, Time: at, Stretch: stretch(ctx, c.Remote, inserter)}
	}
}

// stretch is how many times remote.upload_interval the last upload may be ago, to keep the budget.
func stretch(ctx context.Context, c config.RemoteConfig, file link.Source) float64 {
	if c.MonthlyBudgetMB == 0 {
		return 1
	}
	use, _ := link.Read(ctx, file, c) // an error of the file is a condition already
	return use.Slack()
}

func (v *vitals) noKeys() []health.Active {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.fileEnded {
		return nil
	}
	return []health.Active{health.FileTimeEnded.Active(time.Time{})}
}

// unsetFor is how long a clock may take to be synchronised.
const unsetFor = time.Minute

// clockUnset finds out whether samples wait for their true time. A clock that agrees with the file
// is not called wrong where nobody ever says what is right. One that does not may be right: the
// message says what is known.
func clockUnset(c config.Config, at clock.Moment, read func() (store.Timeline, error)) []health.Active {
	if at.Wall.IsZero() || at.Sync == clock.Yes {
		return nil
	}
	t, err := read() // an error of the file is a condition already
	if err != nil {
		return nil
	}
	e := t[len(t)-1]
	if e.How != store.HowUnknown || e.Boot != at.BootID {
		return nil
	}
	began := time.UnixMilli(e.First.TimestampMS() + e.WallOffset)
	why := "and nothing synchronises it"
	switch {
	case e.WallOffset < -unsetFor.Milliseconds(): // file time is up to a minute ahead where it does not go with the clock
		why = "behind the newest sample before it"
	case e.WallOffset > 0:
		why = "more than 30 days after the newest sample before it"
	case !c.Remote.Enabled || at.Sync != clock.No || at.Wall.Sub(began) < unsetFor:
		return nil
	}
	return []health.Active{health.ClockUnset.Active(time.Time{}, at.Wall.UTC().Format(time.DateTime), why)}
}

func walLarge(c config.Config, bytes int64) []health.Active {
	if bytes <= c.Storage.WALCheckpointSizeMB<<20 {
		return nil
	}
	return []health.Active{health.WALLarge.Active(time.Time{}, bytes>>20, c.Storage.WALCheckpointSizeMB)}
}

// shipperAway finds out from the lock whether shipperd runs, and from its self-metrics in the file
// when it stopped.
func shipperAway(c config.Config, stats []store.Stat) []health.Active {
	if !c.Remote.Enabled {
		return nil
	}
	return health.Away(health.ShipperdAway, c.Storage.Path, "shipperd", func() (last time.Time) {
		for _, s := range stats {
			if s.Updated.After(last) {
				last = s.Updated
			}
		}
		return last
	})
}

// clockOf returns the skew that shipperd measured: collectord opens no connection.
func clockOf(c config.Config, stats []store.Stat, now time.Time) *health.Clock {
	for _, s := range stats {
		if s.Name == metrics.Skew.Name && recent(s, now) {
			return &health.Clock{Checked: s.Updated, SkewMS: int64(s.Value), Source: "shipperd"}
		}
	}
	if c.Monitoring.ClockSkewURL == "" {
		return &health.Clock{Found: []health.Active{health.ClockUnchecked.Active(time.Time{})}}
	}
	return &health.Clock{Found: []health.Active{health.ClockUnknown.Active(time.Time{})}}
}
