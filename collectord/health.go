package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// vitals is what the recorder notes for the health report. Safe for use by
// several goroutines.
type vitals struct {
	mu         sync.Mutex
	sources    map[string]health.Collector
	interfaces interfaces
	storeError string // of the last tick; "" = it was stored
	storeSince time.Time
	storeLost  int // ticks since then
}

func newVitals() *vitals {
	return &vitals{sources: map[string]health.Collector{}, interfaces: newInterfaces()}
}

// tick notes how the collectors of a tick did. One without a source on this
// machine is none of the report's.
func (v *vitals) tick(t *schedule.Tick) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range t.Results {
		r := &t.Results[i]
		v.interfaces.tick(t.Time, r)
		if r.Unsupported {
			delete(v.sources, r.Collector)
			continue
		}
		c := v.sources[r.Collector]
		c.Name, c.Own = r.Collector, r.Collector == agentName
		err := r.Err
		if err == nil && len(r.Errors) > 0 {
			err = fmt.Errorf("%d sensors failed, the first: %w", len(r.Errors), r.Errors[0])
		}
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

func (v *vitals) collectors(now time.Time) *health.Collectors {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := slices.Collect(maps.Values(v.sources))
	slices.SortFunc(list, func(a, b health.Collector) int { return strings.Compare(a.Name, b.Name) })
	return &health.Collectors{List: list, Faults: v.interfaces.note(now)}
}

// storageFaults are those that this daemon sees itself.
func (v *vitals) storageFaults() []health.Reason {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.storeError == "" {
		return nil
	}
	return []health.Reason{health.TicksNotStored.Reason(
		fmt.Sprintf("the samples of %s lost because the database cannot be written: %s", ticksAre(v.storeLost), v.storeError), v.storeSince)}
}

// ticksAre is their number with its verb.
func ticksAre(n int) string {
	if n == 1 {
		return "1 tick are"
	}
	return fmt.Sprintf("%d ticks are", n)
}

// healthSource says how collectord is: its collectors, the file, and what
// shipperd left there about itself.
func healthSource(c config.Config, v *vitals, inserter *store.Inserter) health.Source {
	backlog := &health.Remembered[store.Backlog]{Ask: inserter.Backlog}
	return func(ctx context.Context) health.Input {
		storage := &health.Storage{
			DatabaseBytes: store.FileSize(c.Storage.Path), WALBytes: store.WALSize(c.Storage.Path),
			Faults: v.storageFaults(),
		}
		waiting, err := backlog.Get(ctx)
		if err != nil {
			storage.Faults = append(storage.Faults, health.DatabaseUnreadable.Reason(err.Error(), time.Time{}))
		}
		storage.Pending = waiting.Rows
		if waiting.Rows > 0 {
			storage.OldestPending = time.UnixMilli(waiting.OldestMS).UTC()
		}
		// Nothing, after an error: the file has its reason already.
		shipper, _ := inserter.Stats(ctx, "shipperd")
		storage.Faults = append(storage.Faults, shipperAway(c, shipper)...)
		storage.Faults = append(storage.Faults, damage(c)...)
		storage.Faults = append(storage.Faults, walLarge(c, storage.WALBytes)...)
		return health.Input{Collectors: v.collectors(time.Now()), Storage: storage, Time: clockOf(c, shipper, time.Now())}
	}
}

// damage says so when a damaged file was set aside, until somebody removes it.
func damage(c config.Config) []health.Reason {
	notice := store.DamageNotice(c.Storage.Path)
	if notice == "" {
		return nil
	}
	var since time.Time
	if files, err := store.DamagedFiles(c.Storage.Path); err == nil && len(files) > 0 {
		since = files[len(files)-1].Time
	}
	return []health.Reason{health.DatabaseDamaged.Reason(notice, since)}
}

// walLarge says so when checkpoints do not empty the WAL any more.
func walLarge(c config.Config, bytes int64) []health.Reason {
	if bytes <= c.Storage.WALCheckpointSizeMB<<20 {
		return nil
	}
	return []health.Reason{health.WALLarge.Reason(fmt.Sprintf(
		"the WAL has %d MB, more than storage.wal_checkpoint_size_mb (%d): something keeps it from being emptied", bytes>>20, c.Storage.WALCheckpointSizeMB), time.Time{})}
}

// shipperAway says so when nobody ships what is stored here. The lock tells
// whether shipperd runs, its numbers in the file since when not.
func shipperAway(c config.Config, stats []store.Stat) []health.Reason {
	if !c.Remote.Enabled {
		return nil
	}
	var last time.Time
	for _, s := range stats {
		if s.Updated.After(last) {
			last = s.Updated
		}
	}
	_, running, err := lock.Holder(c.Storage.Path + ".shipperd.lock")
	switch {
	case err != nil:
		return []health.Reason{health.ShipperdAway.Reason("whether shipperd runs cannot be told: "+err.Error(), time.Time{})}
	case !running:
		return []health.Reason{health.ShipperdAway.Reason("shipperd does not run: samples wait in the database until it is started", last)}
	}
	return nil
}

// clockOf is what shipperd found out about the clock: collectord asks nobody.
func clockOf(c config.Config, stats []store.Stat, now time.Time) *health.Clock {
	for _, s := range stats {
		if s.Name == metrics.Skew.Name && recent(s, now) {
			return &health.Clock{Checked: s.Updated, SkewMS: int64(s.Value), Source: "shipperd"}
		}
	}
	note := health.ClockUnknown.Reason("shipperd has not compared the clock lately", time.Time{})
	if c.Monitoring.ClockSkewURL == "" {
		note = health.ClockUnchecked.Reason("the clock is not compared with any: monitoring.clock_skew_url is empty", time.Time{})
	}
	return &health.Clock{Faults: []health.Reason{note}}
}
