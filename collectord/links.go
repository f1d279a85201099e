package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/health"
)

// links remembers which interfaces have come and gone, because a series that ends
// looks like a device that is silent.
type links struct {
	came, gone map[string]time.Time
}

func newLinks() links { return links{came: map[string]time.Time{}, gone: map[string]time.Time{}} }

// rememberLinks is how long one is spoken of that does not come back.
const rememberLinks = 24 * time.Hour

// tick notes what a collector says of them.
func (l links) tick(at time.Time, r *schedule.Result) {
	for _, name := range r.Gone {
		delete(l.came, name)
		l.gone[name] = at.UTC()
	}
	for _, name := range r.Came {
		if _, back := l.gone[name]; !back {
			l.came[name] = at.UTC()
		}
		delete(l.gone, name)
	}
}

// note says which interfaces are gone, and which have come since the first of
// them went: one of those may be the same under another name.
func (l links) note(now time.Time) []health.Reason {
	old := func(_ string, at time.Time) bool { return now.Sub(at) > rememberLinks }
	maps.DeleteFunc(l.gone, old)
	maps.DeleteFunc(l.came, old)
	if len(l.gone) == 0 {
		return nil
	}
	since := slices.MinFunc(slices.Collect(maps.Values(l.gone)), time.Time.Compare)
	message := "no longer there: interface " + strings.Join(slices.Sorted(maps.Keys(l.gone)), ", ")
	came := maps.Clone(l.came)
	maps.DeleteFunc(came, func(_ string, at time.Time) bool { return at.Before(since) })
	if len(came) > 0 {
		message += "; new since then: " + strings.Join(slices.Sorted(maps.Keys(came)), ", ")
	}
	return []health.Reason{health.InterfaceGone.Reason(message, since)}
}
