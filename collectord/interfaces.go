package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/health"
)

// interfaces remembers which network interfaces have come and gone, because a series
// that ends looks like a device that is silent.
type interfaces struct {
	came, gone map[string]time.Time
}

func newInterfaces() interfaces {
	return interfaces{came: map[string]time.Time{}, gone: map[string]time.Time{}}
}

// rememberInterfaces is how long one is reported that does not come back.
const rememberInterfaces = 24 * time.Hour

// tick notes what a collector reports.
func (i interfaces) tick(at time.Time, r *schedule.Result) {
	for _, name := range r.Gone {
		delete(i.came, name)
		i.gone[name] = at.UTC()
	}
	for _, name := range r.Came {
		if _, back := i.gone[name]; !back {
			i.came[name] = at.UTC()
		}
		delete(i.gone, name)
	}
}

// conditions names the interfaces that are gone, and those that have come since the first of them
// went: one of these may be the same under another name.
func (i interfaces) conditions(now time.Time) []health.Active {
	old := func(_ string, at time.Time) bool { return now.Sub(at) > rememberInterfaces }
	maps.DeleteFunc(i.gone, old)
	maps.DeleteFunc(i.came, old)
	if len(i.gone) == 0 {
		return nil
	}
	since := slices.MinFunc(slices.Collect(maps.Values(i.gone)), time.Time.Compare)
	came := maps.Clone(i.came)
	maps.DeleteFunc(came, func(_ string, at time.Time) bool { return at.Before(since) })
	appeared := ""
	if len(came) > 0 {
		appeared = "; new since then: " + strings.Join(slices.Sorted(maps.Keys(came)), ", ")
	}
	gone := strings.Join(slices.Sorted(maps.Keys(i.gone)), ", ")
	return []health.Active{health.InterfaceGone.Active(since, gone, appeared)}
}
