package main

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

func at(second int64, results ...schedule.Result) *schedule.Tick {
	return &schedule.Tick{Time: time.Unix(second, 0), Results: results}
}

func TestVitals_Sources(t *testing.T) {
	t.Parallel()
	v := newVitals()
	bad := schedule.Result{Collector: "thermal", Errors: []error{errors.New("zone 3 is dead"), errors.New("zone 4 too")}}
	v.tick(at(100, schedule.Result{Collector: "cpu"}, bad, schedule.Result{Collector: "wireless", Unsupported: true}))
	v.tick(at(110, schedule.Result{Collector: "cpu", Err: errors.New("truncated")}, bad))
	list := v.collectors().List
	if len(list) != 2 || list[0].Name != "cpu" || list[1].Name != "thermal" {
		t.Fatalf("got %+v, want cpu and thermal", list)
	}
	cpu, thermal := list[0], list[1]
	if !cpu.LastSuccess.Equal(time.Unix(100, 0)) || !cpu.FailingSince.Equal(time.Unix(110, 0)) || cpu.Error != "truncated" {
		t.Errorf("cpu: %+v", cpu)
	}
	if !thermal.FailingSince.Equal(time.Unix(100, 0)) || thermal.Error != "2 sensors failed, the first: zone 3 is dead" {
		t.Errorf("thermal: %+v, want it failing since its first failure", thermal)
	}
	v.tick(at(120, schedule.Result{Collector: "cpu"}))
	if cpu := v.collectors().List[0]; !cpu.FailingSince.IsZero() || cpu.Error != "" || !cpu.LastSuccess.Equal(time.Unix(120, 0)) {
		t.Errorf("cpu after recovery: %+v", cpu)
	}
}

func TestVitals_Storage(t *testing.T) {
	t.Parallel()
	v := newVitals()
	v.stored(time.Unix(100, 0), nil)
	if f := v.storageFaults(); f != nil {
		t.Errorf("got %v, want none", f)
	}
	v.stored(time.Unix(110, 0), errors.New("disk full"))
	v.stored(time.Unix(120, 0), errors.New("disk still full"))
	f := v.storageFaults()
	if len(f) != 1 || f[0].Severity != health.Error || !f[0].Since.Equal(time.Unix(110, 0)) {
		t.Errorf("got %+v, want one error since the first failure", f)
	}
	v.stored(time.Unix(130, 0), nil)
	if f := v.storageFaults(); f != nil {
		t.Errorf("after recovery: %v", f)
	}
}

// Stopping shipperd shows in collectord's report, from the lock file, and its
// numbers, the clock's skew among them, come from the store.
func TestHealthSource(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Storage.Path = filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "collectord"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test ends
	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	defer ob.Close(t.Context()) //nolint:errcheck // the test ends
	if _, err := in.Insert(t.Context(), time.Unix(1_790_000_000, 0), []store.Sample{{Series: store.NewSeries("d", "a", store.Number)}}); err != nil {
		t.Fatal(err)
	}
	if err := ob.SaveStats(t.Context(), []store.Stat{{Name: "time.skew_ms", Tags: "{}", Kind: "gauge", Value: -2500}}); err != nil {
		t.Fatal(err)
	}
	source := healthSource(c, newVitals(), in)

	got := source(t.Context())
	if len(got.Storage.Faults) != 1 || got.Storage.Faults[0].Code != "shipperd_away" {
		t.Errorf("without shipperd: faults %+v", got.Storage.Faults)
	}
	if got.Storage.Pending != 1 || !got.Storage.OldestPending.Equal(time.Unix(1_790_000_000, 0)) {
		t.Errorf("storage: %+v, want one row, of then", got.Storage)
	}
	if got.Time.SkewMS != -2500 || got.Time.Checked.IsZero() {
		t.Errorf("time: %+v, want what shipperd saved", got.Time)
	}

	held, err := lock.Acquire(c.Storage.Path + ".shipperd.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release() //nolint:errcheck // the test ends
	if got := source(t.Context()); len(got.Storage.Faults) != 0 {
		t.Errorf("with shipperd: faults %+v", got.Storage.Faults)
	}
}
