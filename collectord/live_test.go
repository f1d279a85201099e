package main

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

// A tick that does not come back, here because somebody sits on the database,
// makes /health/live fail; the loop goes on, and it is well again.
func TestLive_StuckLoop(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test ends
	progress := health.NewProgress(300*time.Millisecond, nil)
	server, err := health.Listen("127.0.0.1:0", health.Config{Key: "k", Progress: progress, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	go server.Run(t.Context()) //nolint:errcheck // the test ends
	live := func(want int) func() bool {
		return func() bool {
			res, err := http.Get("http://" + server.Addr() + "/health/live")
			if err != nil {
				return false
			}
			res.Body.Close() //nolint:errcheck // its status is what counts
			return res.StatusCode == want
		}
	}
	rec := newRecorder(in, newOwn(path), newVitals(), slog.New(slog.DiscardHandler), progress.Beat)
	tick := func(second int64) {
		err := rec.record(t.Context(), &schedule.Tick{
			Time: time.Unix(second, 0), Samples: []store.Sample{{Series: store.NewSeries("dev", "a", store.Number)}},
		})
		if err != nil {
			t.Error(err)
		}
	}
	tick(1_790_000_000)
	testkit.Eventually(t, 10*time.Second, "life", live(http.StatusOK))

	release := storetest.Hold(t, path)
	done := make(chan struct{})
	go func() { defer close(done); tick(1_790_000_001) }()
	testkit.Eventually(t, 10*time.Second, "the loop to be called stuck", live(http.StatusServiceUnavailable))
	release()
	<-done
	tick(1_790_000_002)
	testkit.Eventually(t, 10*time.Second, "life again", func() bool {
		progress.Beat() // as the next ticks do
		return live(http.StatusOK)()
	})
	if rec.inserted != 3 {
		t.Errorf("%d ticks stored, want all 3: the lock was given back in time", rec.inserted)
	}
}
