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
	storeError string // of the last tick; "" = it was stored
	storeSince time.Time
}

func newVitals() *vitals { return &vitals{sources: map[string]health.Collector{}} }

// tick notes how the collectors of a tick did. One without a source on this
// machine is none of the report's.
func (v *vitals) tick(t *schedule.Tick) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range t.Results {
		r := &t.Results[i]
		if r.Unsupported {
			delete(v.sources, r.Collector)
			continue
		}
		c := v.sources[r.Collector]
		c.Name = r.Collector
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
	switch {
	case err == nil:
		v.storeError = ""
	case v.storeError == "":
		v.storeError, v.storeSince = err.Error(), at.UTC()
	default:
		v.storeError = err.Error()
	}
}

func (v *vitals) collectors() *health.Collectors {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := slices.Collect(maps.Values(v.sources))
	slices.SortFunc(list, func(a, b health.Collector) int { return strings.Compare(a.Name, b.Name) })
	return &health.Collectors{List: list}
}

// storageFaults are those that this daemon sees itself.
func (v *vitals) storageFaults() []health.Reason {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.storeError == "" {
		return nil
	}
	return []health.Reason{{
		Code: "ticks_not_stored", Severity: health.Error, Since: v.storeSince,
		Message: "samples are lost because the database cannot be written: " + v.storeError,
	}}
}

// healthSource says how collectord is: its collectors, the file, and what
// shipperd left there about itself.
func healthSource(c config.Config, v *vitals, inserter *store.Inserter) health.Source {
	return func(ctx context.Context) health.Input {
		storage := &health.Storage{
			DatabaseBytes: store.FileSize(c.Storage.Path), WALBytes: store.WALSize(c.Storage.Path),
			Faults: v.storageFaults(),
		}
		backlog, err := inserter.Backlog(ctx)
		if err != nil {
			storage.Faults = append(storage.Faults, health.Reason{
				Code: "database_unreadable", Severity: health.Error, Message: err.Error(),
			})
		}
		storage.Pending = backlog.Rows
		if backlog.Rows > 0 {
			storage.OldestPending = time.UnixMilli(backlog.OldestMS).UTC()
		}
		if away := shipperAway(c); away != "" {
			storage.Faults = append(storage.Faults, health.Reason{Code: "shipperd_away", Severity: health.Degraded, Message: away})
		}
		return health.Input{Collectors: v.collectors(), Storage: storage, Time: clockOf(ctx, inserter)}
	}
}

// shipperAway says so when nobody ships what is stored here.
func shipperAway(c config.Config) string {
	if !c.Remote.Enabled {
		return ""
	}
	_, running, err := lock.Holder(c.Storage.Path + ".shipperd.lock")
	switch {
	case err != nil:
		return "whether shipperd runs cannot be told: " + err.Error()
	case !running:
		return "shipperd does not run: samples wait in the database until it is started"
	}
	return ""
}

// clockOf is what shipperd found out about the clock: collectord asks nobody.
func clockOf(ctx context.Context, inserter *store.Inserter) *health.Clock {
	stats, err := inserter.Stats(ctx, "shipperd")
	if err != nil {
		return &health.Clock{}
	}
	for _, s := range stats {
		if s.Name == metrics.Skew.Name {
			return &health.Clock{Checked: s.Updated, SkewMS: int64(s.Value), Source: "shipperd"}
		}
	}
	return &health.Clock{}
}
