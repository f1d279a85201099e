package main

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

// A tick that does not come back, here because somebody sits on the database, makes
// /health/live fail; when it comes back and the next one begins, it is well again. The
// heartbeat has a clock of its own, so no machine is too slow for this test.
func TestLive_StuckLoop(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test ends
	began := time.Now()
	var passed, ticks atomic.Int64
	progress := health.NewProgress(30*time.Second, func() time.Time { return began.Add(time.Duration(passed.Load())) })
	server, err := health.Listen("127.0.0.1:0", health.Config{Key: "k", Progress: progress, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	go server.Run(t.Context()) //nolint:errcheck // the test ends
	live := func() int {
		res, err := http.Get("http://" + server.Addr() + "/health/live")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close() //nolint:errcheck // its status is what counts
		return res.StatusCode
	}
	rec := newRecorder(in, newSelfMetrics(path), newVitals(), slog.New(slog.DiscardHandler), progress.Beat)
	tick := func(second int64) {
		ticks.Add(1)
		err := rec.record(t.Context(), &schedule.Tick{
			Time: time.Unix(second, 0), Samples: []store.Sample{{Series: store.NewSeries("dev", "a", store.Number)}},
		})
		if err != nil {
			t.Error(err)
		}
	}
	tick(1_790_000_000)
	if code := live(); code != http.StatusOK {
		t.Errorf("after a tick: %d, want 200", code)
	}
	release := storetest.Hold(t, path)
	done := make(chan struct{})
	go func() { defer close(done); tick(1_790_000_001) }()
	testkit.Eventually(t, 2*time.Minute, "the tick to begin", func() bool { return ticks.Load() == 2 })
	passed.Store(int64(31 * time.Second))
	code := live()
	release() // while the store still waits for the lock
	if code != http.StatusServiceUnavailable {
		t.Errorf("31 s into a tick: %d, want 503", code)
	}
	<-done
	tick(1_790_000_002)
	if code := live(); code != http.StatusOK {
		t.Errorf("after the next tick: %d, want 200", code)
	}
	if rec.inserted != 3 {
		t.Errorf("%d ticks stored, want all 3: the lock was given back in time", rec.inserted)
	}
}
