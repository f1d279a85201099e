package main

import (
	"testing"

	"belabox-metrics/shared/daemon/daemontest"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// Every number of the table is told, and nothing else is.
func TestOwn_Table(t *testing.T) {
	t.Parallel()
	o := newOwn("/nowhere")
	o.checkpointed(store.CheckpointResult{})
	daemontest.Table(t, &o.set, metrics.Collectord)
}

// The time of the last checkpoint is known from an earlier run.
func TestOwn_LastCheckpointOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	o := newOwn("/nowhere")
	has := func() (value float64, ok bool) {
		for _, p := range o.set.Points() {
			if p.Name == metrics.CheckpointDuration.Name {
				return p.Value, true
			}
		}
		return 0, false
	}
	if v, ok := has(); ok {
		t.Errorf("before the first checkpoint: got %v", v)
	}
	o.restore([]store.Stat{{Name: metrics.CheckpointDuration.Name, Tags: "{}", Kind: "gauge", Value: 12}})
	if v, ok := has(); !ok || v != 12 {
		t.Errorf("got %v, %v, want 12", v, ok)
	}
}
