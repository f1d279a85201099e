package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

// TestVitals_AbsentValues runs an hour of ticks, in which values end with and without an error.
func TestVitals_AbsentValues(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVitals()
		signal := store.NewSeries("d", "wireless.signal_dbm", store.Number, store.Tag{Name: "interface", Value: "wlan0"})
		load := store.NewSeries("d", "load.average_1m", store.Number)
		zone := store.NewSeries("d", "thermal.zone_celsius", store.Number, store.Tag{Name: "zone", Value: "thermal_zone0"})
		began := time.Now()
		var step time.Duration // of the wall clock
		run := func(minutes int, series ...*store.Series) string {
			for range minutes * 6 {
				time.Sleep(10 * time.Second)
				tick := &schedule.Tick{Time: time.Now().Add(step), Moment: clock.Moment{Boot: time.Since(began)}}
				for _, s := range series {
					tick.Samples = append(tick.Samples, store.Sample{Series: s})
				}
				has := func(s *store.Series) int {
					if slices.Contains(series, s) {
						return 1
					}
					return 0
				}
				tick.Results = []schedule.Result{
					{Collector: "load", Samples: has(load)}, {Collector: "wireless", Samples: has(signal)}, {Collector: "thermal", Samples: has(zone)},
				}
				if has(zone) == 0 {
					tick.Results[2].Errors = []error{&sample.Fault{Parts: []string{"thermal_zone0"}, Err: errors.New("dead")}}
				}
				v.tick(tick)
			}
			var messages []string
			for _, a := range v.collectors(time.Now()).Found {
				if a.Code != "values_absent" || a.Severity != health.OK {
					t.Errorf("got %+v", a)
				}
				messages = append(messages, a.Message)
			}
			return strings.Join(messages, "; ")
		}
		if got := run(20, load, signal, zone); got != "" {
			t.Errorf("all there: %q", got)
		}
		if got := run(9, load, zone); got != "" {
			t.Errorf("too early: %q", got)
		}
		step = -365 * 24 * time.Hour // hides nothing
		if got := run(3, load, zone); got != `no value for 10 minutes or more: wireless.signal_dbm{"interface":"wlan0"}` {
			t.Errorf("got %q", got)
		}
		step = 0
		if got := run(2, load, signal, zone); got != "" {
			t.Errorf("back: %q", got)
		}
		if got := run(30, load, signal); got != "" { // it fails, which has a condition of its own
			t.Errorf("failing: %q", got)
		}
		list := v.collectors(time.Now()).List
		if c := list[1]; c.Name != "thermal" || len(c.Failing) != 1 || c.Failing[0] != "thermal_zone0" || c.Error != "1 failed, the first: thermal_zone0: dead" {
			t.Errorf("got %+v", list)
		}
		if got := run(12, load, signal, zone); got != "" {
			t.Errorf("after the failure: %q", got)
		}
		run(1, load, zone)
		step = time.Hour // makes nothing absent
		if got := run(1, load, zone); got != "" {
			t.Errorf("after a step: %q", got)
		}
		run(12, load)
		if got := run(25*60, load, zone); got != "" {
			t.Errorf("after a day: %q", got)
		}
	})
}

// TestAbsences_OnceAMinute: what only the first tick of a minute has is not absent, however the
// ticks lie in the minute.
func TestAbsences_OnceAMinute(t *testing.T) {
	t.Parallel()
	worn := store.NewSeries("d", "emmc.life_used_percent", store.Number)
	a := newAbsences()
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	last := int64(0)
	began := at
	for i := range 3 * 360 {
		at = at.Add(10*time.Second + time.Duration(i%7)*time.Millisecond)
		tick := &schedule.Tick{Time: at, Moment: clock.Moment{Boot: at.Sub(began)}, Results: []schedule.Result{{Collector: "board"}}}
		if at.Unix()/60 != last {
			last = at.Unix() / 60
			tick.Samples, tick.Results[0].Samples = []store.Sample{{Series: worn}}, 1
		}
		a.tick(tick)
		if found := a.conditions(at, nil); len(found) > 0 {
			t.Fatalf("tick %d: %+v", i, found)
		}
	}
}
