package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/daemon/daemontest"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/ship"
)

func TestMain(m *testing.M) { daemontest.Main(m, program()) }

// pendingFile makes a database with one pending row.
func pendingFile(t *testing.T, db string) {
	t.Helper()
	in, err := store.OpenInserter(t.Context(), store.Options{Path: db, Daemon: "collectord"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Insert(t.Context(), time.Now().Add(-time.Minute), []store.Sample{{Series: store.NewSeries("dev", "a", store.Number)}}); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A panic in the middle of an upload is caught, logged with its stack and
// counted; the process ends with code 1 and its lock is free. The sample that was
// under way is not lost by it: the next run asks for it.
func TestProcess_Panic(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	dir := t.TempDir()
	path, db := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "metrics.db")
	text := "storage: {path: " + db + "}\nhealth: {shipperd_listen: '127.0.0.1:0'}\nlogging: {level: debug}\n" +
		"remote: {url: '" + vm.ImportURL() + "', upload_interval: 1s}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pendingFile(t, db)
	daemontest.Panic(t, path, "chunk uploaded", "ship", "accept.go")
	held, err := lock.Acquire(db + ".shipperd.lock")
	if err != nil {
		t.Fatalf("after the panic: %v", err)
	}
	defer held.Release() //nolint:errcheck // the test ends
	if got := daemontest.SavedNumber(t, db, "shipperd", metrics.Panics.Name); got != 1 {
		t.Errorf("%v panics counted, want 1", got)
	}
	file, err := store.OpenReader(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	totals, err := file.ChunkTotals(t.Context())
	if err != nil || len(totals) != 1 || totals[0].State != store.Sending || totals[0].Samples != 1 {
		t.Errorf("chunks: %+v, %v; want the one that was under way", totals, err)
	}
}

// A loop that waits for an answer for ever makes /health/live fail, and is well
// again when it gets on.
func TestLive_StuckLoop(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	c := config.Default()
	c.Storage.Path = filepath.Join(t.TempDir(), "metrics.db")
	c.Remote.URL, c.Remote.UploadInterval = vm.ImportURL(), time.Second
	outbox, err := store.OpenOutbox(t.Context(), store.Options{Path: c.Storage.Path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	defer outbox.Close(context.Background()) //nolint:errcheck // the test ends

	quiet := slog.New(slog.DiscardHandler)
	progress := health.NewProgress(2500*time.Millisecond, nil) // an idle loop advances each second
	server, err := health.Listen("127.0.0.1:0", health.Config{Key: "k", Progress: progress, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	shipper, _, err := newShipper(daemon.Env{Config: c, Log: quiet, Secrets: new(logx.Secrets)}, outbox, meterLink(outbox, c.Remote), ship.Deps{Beat: progress.Beat})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go server.Run(ctx) //nolint:errcheck // the test ends
	go func() { done <- shipper.Run(ctx) }()
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
	testkit.Eventually(t, testkit.WaitLimit, "life", live(http.StatusOK))
	vm.Otherwise(testkit.Hang(testkit.WholeBody, testkit.KeepNone))
	pendingFile(t, c.Storage.Path)
	testkit.Eventually(t, testkit.WaitLimit, "the loop to be called stuck", live(http.StatusServiceUnavailable))
	vm.GoAway() // what hangs ends
	testkit.Eventually(t, testkit.WaitLimit, "life again", live(http.StatusOK))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
