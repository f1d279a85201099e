package main

import (
	"slices"
	"testing"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/daemon/daemontest"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// Every metric of the table is exposed, and nothing else.
func TestSelfMetrics_Table(t *testing.T) {
	t.Parallel()
	m := newSelfMetrics("/nowhere")
	m.checkpointed(store.CheckpointResult{})
	m.observe(&schedule.Tick{Moment: clock.Moment{Sync: clock.No}})
	daemontest.Table(t, &m.set, metrics.Collectord)
}

// The time of the last checkpoint is known from an earlier run.
func TestSelfMetrics_LastCheckpointOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	m := newSelfMetrics("/nowhere")
	has := func() (value float64, ok bool) {
		for _, p := range m.set.Points() {
			if p.Name == metrics.CheckpointDuration.Name {
				return p.Value, true
			}
		}
		return 0, false
	}
	if v, ok := has(); ok {
		t.Errorf("before the first checkpoint: got %v", v)
	}
	m.restore([]store.Stat{{Name: metrics.CheckpointDuration.Name, Tags: "{}", Kind: "gauge", Value: 12}})
	if v, ok := has(); !ok || v != 12 {
		t.Errorf("got %v, %v, want 12", v, ok)
	}
}

// Whether the clock is synchronised is a sample only where somebody can tell.
func TestSelfMetrics_ClockSynchronised(t *testing.T) {
	t.Parallel()
	m := newSelfMetrics("/nowhere")
	f := func(s clock.Sync, want ...float64) {
		t.Helper()
		m.observe(&schedule.Tick{Moment: clock.Moment{Sync: s}})
		var got []float64
		for _, p := range m.set.Points() {
			if p.Name == "time.clock_synchronised" {
				got = append(got, p.Value)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", s, got, want)
		}
	}
	f(clock.Unknown)
	f(clock.No, 0)
	f(clock.Yes, 1)
	f(clock.Unknown)
}
