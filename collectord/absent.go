package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/collectord/internal/textfile"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

// absences remembers which series had values, because one that ends without an error, such as the
// signal of a radio or a file system that may no longer be read, looks like a device that is
// silent.
type absences struct {
	seen   map[string]sighting // by series
	looked map[string]look     // by collector
}

// sighting is when a series had a value, by the boot clock: the wall clock may be set.
type sighting struct {
	collector string
	boot      time.Duration
}

// look is when a collector's series were last noted.
type look struct {
	minute int64 // of the wall clock
	boot   time.Duration
}

const (
	absentAfter    = 10 * time.Minute
	rememberAbsent = 24 * time.Hour
	namedAbsent    = 3 // how many are named
)

func newAbsences() absences {
	return absences{seen: map[string]sighting{}, looked: map[string]look{}}
}

// tick notes the series of a tick, in the first one of each minute for each collector: a look takes
// more than the rest of a tick's report, and there are values which only that tick has. Failures
// are reported elsewhere: while a collector fails, nothing of it becomes absent. What others write
// in files may end when they like.
func (a absences) tick(t *schedule.Tick) {
	now, samples := look{t.Time.Unix() / 60, t.Moment.Boot}, t.Samples
	for i := range t.Results {
		r := &t.Results[i]
		own := samples[:min(r.Samples, len(samples))]
		samples = samples[len(own):]
		if r.Collector == agentName || r.Collector == textfile.Name || r.Err != nil || len(r.Errors) > 0 || a.looked[r.Collector].minute == now.minute {
			continue
		}
		a.looked[r.Collector] = now
		for k := range own {
			if s := own[k].Series; s.Type == store.Number {
				a.seen[s.Name+s.Tags] = sighting{r.Collector, now.boot}
			}
		}
	}
}

// conditions names the series whose collector has run without them for ten minutes. An interface
// that is gone has a condition of its own.
func (a absences) conditions(now time.Time, gone map[string]time.Time) []health.Active {
	absent := func(s sighting) time.Duration { return a.looked[s.collector].boot - s.boot }
	maps.DeleteFunc(a.seen, func(_ string, s sighting) bool { return absent(s) > rememberAbsent })
	var names []string
	var longest time.Duration
	for name, s := range a.seen {
		if absent(s) < absentAfter || isOfInterface(name, gone) {
			continue
		}
		names = append(names, name)
		longest = max(longest, absent(s))
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - namedAbsent; n > 0 {
		names, more = names[:namedAbsent], fmt.Sprintf(" and %d more", n)
	}
	return []health.Active{health.ValuesAbsent.Active(now.Add(-longest).UTC(), strings.Join(names, ", "), more)}
}

func isOfInterface(series string, names map[string]time.Time) bool {
	for name := range names {
		if strings.Contains(series, fmt.Sprintf(`"interface":%q`, name)) {
			return true
		}
	}
	return false
}
