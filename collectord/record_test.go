package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/store"
)

// bench is a recorder over a real file.
type bench struct {
	*recorder
	in    *store.Inserter
	log   bytes.Buffer
	beats int
	load  *store.Series
}

func newBench(t *testing.T, maxPages int) *bench {
	t.Helper()
	b := &bench{load: store.NewSeries("dev", "load.average_1m", store.Number)}
	var err error
	b.in, err = store.OpenInserter(t.Context(), store.Options{
		Path: filepath.Join(t.TempDir(), "metrics.db"), Daemon: "collectord", MaxPages: maxPages,
	}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.in.Close(context.Background()) })
	b.recorder = newRecorder(b.in, newSelfMetrics("/nowhere"), newVitals(), slog.New(slog.NewJSONHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})), func() { b.beats++ })
	return b
}

// tick records one sample at the given second, and results as they are given.
func (b *bench) tick(t *testing.T, second int64, results ...schedule.Result) {
	t.Helper()
	err := b.record(t.Context(), &schedule.Tick{
		Time: time.Unix(second, 0), Moment: b.moment(second), Samples: []store.Sample{{Series: b.load, Value: 0.5}}, Results: results,
	})
	if err != nil {
		t.Fatalf("a tick ended the loop: %v", err)
	}
}

// moment is what the clocks of a machine show that was booted at 1_789_999_000.
func (b *bench) moment(second int64) clock.Moment {
	return clock.Moment{Wall: time.Unix(second, 0), Boot: time.Duration(second-1_789_999_000) * time.Second, BootID: "boot", Sync: clock.No}
}

// total reads one of collectord's self-metrics.
func (b *bench) total(t *testing.T, name string, values ...string) float64 {
	t.Helper()
	for _, p := range b.self.set.Points() {
		var have []string
		for _, tag := range p.Tags {
			have = append(have, tag.Value)
		}
		if p.Name == name && slices.Equal(have, values) {
			return p.Value
		}
	}
	t.Fatalf("no metric %s%v", name, values)
	return 0
}

func TestRecorder_StoresTicks(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	for s := range int64(5) {
		b.tick(t, 1_790_000_000+s)
	}
	if b.ticks != 5 || b.inserted != 5 || b.beats != 5 {
		t.Errorf("ticks %d, inserted %d, beats %d; want 5, 5, 5", b.ticks, b.inserted, b.beats)
	}
}

// A clock that is set back, a little or to 1970, costs no sample.
func TestRecorder_ClockSetBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	for _, second := range []int64{1_790_000_000, 1_790_000_001, 1_790_000_000, 1_790_000_001, 5, 1_790_000_001} {
		b.tick(t, second)
	}
	if b.inserted != 6 || b.total(t, "collector.metrics_failed_total", "duplicate") != 0 || b.log.Len() > 0 {
		t.Errorf("inserted %d, log %s", b.inserted, b.log.String())
	}
	line, err := b.in.Timeline(t.Context())
	if err != nil || len(line) != 5 || line[2].WallOffset != -60_000 {
		t.Errorf("epochs %+v, %v: want four begun, the second a minute on", line, err)
	}
}

// Behind the last key samples are refused, counted and told.
func TestRecorder_NoKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	if _, err := b.in.Insert(t.Context(), time.UnixMilli(store.MaxTimestampMS), []store.Sample{{Series: b.load}}); err != nil {
		t.Fatal(err)
	}
	b.tick(t, 1_790_000_000)
	if n := b.total(t, "collector.metrics_failed_total", "invalid"); n != 1 || b.inserted != 0 {
		t.Errorf("%v refused, %d inserted", n, b.inserted)
	}
	if got := b.state.noKeys(); len(got) != 1 || got[0].Code != "file_time_ended" || got[0].Severity != health.Error {
		t.Errorf("conditions %+v", got)
	}
}

// A full disk costs the ticks that do not fit, a line in the log, and no more.
func TestRecorder_FullDisk(t *testing.T) {
	t.Parallel()
	b := newBench(t, 60)
	second := int64(1_790_000_000)
	lost := func() int64 { return int64(b.total(t, "collector.metrics_failed_total", "storage")) }
	for ; lost() < 3; second++ {
		if second > 1_790_010_000 {
			t.Fatal("10,000 ticks and the disk is not full")
		}
		b.tick(t, second)
	}
	if b.ticks != b.inserted+lost() {
		t.Errorf("%d ticks, %d stored, %d lost: they do not add up", b.ticks, b.inserted, lost())
	}
	if n := strings.Count(b.log.String(), "tick not stored"); n != 1 {
		t.Errorf("%d lines for one outage, want 1: %s", n, b.log.String())
	}
}

func TestRecorder_ReportsSources(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	bad := schedule.Result{Collector: "thermal", Err: errors.New("zone 3 is dead")}
	good := schedule.Result{Collector: "thermal", Samples: 4, Duration: 1500 * time.Microsecond}
	for s := range int64(10) {
		b.tick(t, 1_790_000_000+s, bad)
	}
	if n := strings.Count(b.log.String(), "zone 3 is dead"); n != 1 {
		t.Errorf("%d lines for a source that fails ten times, want 1", n)
	}
	b.tick(t, 1_790_000_010, good)
	for _, want := range []string{"collector works again", `"collector":"thermal"`, `"count":4`, `"duration_ms":1.5`, `"session_id":"` + b.in.Session().UUID} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestRecorder_ReportsMissedTicksAndClockSteps(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	if err := b.record(t.Context(), &schedule.Tick{Time: time.Unix(1_790_000_000, 0), Missed: 3, ClockStep: -time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ticks missed", `"count":3`, "wall clock stepped", `"step_seconds":-3600`} {
		if !strings.Contains(b.log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, b.log.String())
		}
	}
	if n := b.total(t, "collector.ticks_missed_total"); n != 3 {
		t.Errorf("missed %v, want 3", n)
	}
}

// What goes wrong in each tick for a while is a line when it begins and one when
// it is over: a collector that gives a series twice, a machine that is too slow.
func TestRecorder_RepeatsAreThrottled(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	const first, ticks = 1_790_000_000, 100
	for i := range int64(ticks) {
		b.tick(t, first+i)
	}
	for i := range int64(ticks) {
		tick := &schedule.Tick{
			Time: time.Unix(first+ticks+i, 0), Moment: b.moment(first + ticks + i), Missed: 1, ClockStep: time.Second,
			Samples: []store.Sample{{Series: b.load, Value: 1}, {Series: b.load, Value: 2}},
		}
		if err := b.record(t.Context(), tick); err != nil {
			t.Fatal(err)
		}
	}
	b.tick(t, first+2*ticks)
	for text, want := range map[string]int{
		"duplicate samples refused": 1, `"series":"`: 1, "samples no longer refused": 1, "ticks missed": 1, "ticks on time again": 1,
		"wall clock stepped": 1, "wall clock steady again": 1, `"failures":100`: 3,
	} {
		if n := strings.Count(b.log.String(), text); n != want {
			t.Errorf("got %d lines with %q, want %d: %s", n, text, want, b.log.String())
		}
	}
	if n := b.total(t, "collector.metrics_failed_total", "duplicate"); n != ticks {
		t.Errorf("%v samples counted as refused, want %d", n, ticks)
	}
}

// After the stop nothing is inserted any more, and that is no failure.
func TestRecorder_Stopped(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.record(ctx, &schedule.Tick{Time: time.Unix(1_790_000_000, 0), Samples: []store.Sample{{Series: b.load}}}); err != nil {
		t.Fatal(err)
	}
	if n := b.total(t, "collector.metrics_failed_total", "storage"); b.ticks != 0 || n != 0 {
		t.Errorf("%d ticks, %v samples lost after the stop, want 0, 0", b.ticks, n)
	}
}

// A collector that panics has its stack in the log, once, and each time counts.
func TestRecorder_CollectorPanics(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	crash := &run.PanicError{Task: "thermal", Value: "index out of range", Stack: []byte("goroutine 1\nthermal.go:7")}
	for s := range int64(3) {
		b.tick(t, 1_790_000_000+s, schedule.Result{Collector: "thermal", Err: crash})
	}
	if n := b.total(t, "agent.panics_total", "collectord"); n != 3 {
		t.Errorf("%v panics, want 3", n)
	}
	line := b.log.String()
	for _, want := range []string{`"error":"panic: index out of range"`, `"error_type":"panic"`, `"stack":"goroutine 1\nthermal.go:7"`} {
		if strings.Count(line, want) != 1 {
			t.Errorf("the log has not one %s: %s", want, line)
		}
	}
}
