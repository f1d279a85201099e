package main

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/daemon/daemontest"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

func TestMain(m *testing.M) { daemontest.Main(m, program()) }

// A panic in a task is caught there, logged with its stack and counted; the
// process ends with code 1, its locks free, its file without a WAL.
func TestProcess_Panic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config, db := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "metrics.db")
	text := "storage: {path: " + db + "}\ncollection: {interval: 1s}\nhealth: {collectord_listen: '127.0.0.1:0'}\nlogging: {level: debug}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []float64{1, 2} {
		daemontest.Panic(t, config, "collected", "collect", "record.go")
		for _, name := range []string{".collectord.lock", ".checkpoint.lock"} {
			held, err := lock.Acquire(db + name)
			if err != nil {
				t.Errorf("after the panic: %v", err)
				continue
			}
			if err := held.Release(); err != nil {
				t.Error(err)
			}
		}
		if n := store.WALSize(db); n != 0 {
			t.Errorf("a WAL of %d bytes is left", n)
		}
		if got := daemontest.SavedNumber(t, db, "collectord", metrics.Panics.Name); got != want {
			t.Errorf("%v panics counted, want %v", got, want)
		}
	}
}

// TestProcess_ClockBehind: the newest row is an hour ahead of the clock, as after a power cut on a
// board without a clock battery. No sample is refused, a kill changes nothing, and health says it.
func TestProcess_ClockBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config, db := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "metrics.db")
	text := "storage: {path: " + db + ", durability: 0s}\ncollection: {interval: 200ms}\nhealth: {collectord_listen: '127.0.0.1:0'}\nlogging: {format: json}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := store.OpenInserter(t.Context(), store.Options{Path: db, Daemon: "collectord"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ahead := time.Now().Add(time.Hour).Truncate(time.Second)
	if _, err := in.Insert(t.Context(), ahead, []store.Sample{{Series: store.NewSeries("dev", "a", store.Number)}}); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	read := func() (line store.Timeline, rows int64, stats []store.Stat) {
		t.Helper()
		file, err := store.OpenReader(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close() //nolint:errcheck // it was only read
		line, err = file.Timeline(t.Context())
		count, countErr := file.Count(t.Context(), line[len(line)-1].First, math.MaxInt64)
		stats, statsErr := file.Stats(t.Context())
		if err := errors.Join(err, countErr, statsErr); err != nil {
			t.Fatal(err)
		}
		return line, count, stats
	}
	seen := int64(1)
	for range 2 {
		p := daemontest.Start(t, config, "never said")
		testkit.Eventually(t, testkit.WaitLimit, "ticks", func() bool {
			line, rows, _ := read()
			return len(line) > 1 && rows > seen+100
		})
		p.Kill()
		<-p.Done()
		_, seen, _ = read()
	}
	line, _, _ := read()
	last := line[len(line)-1]
	if late := -time.Duration(last.WallOffset) * time.Millisecond; late < 59*time.Minute || late > 62*time.Minute || last.How != store.HowUnknown {
		t.Errorf("the last epoch %+v: the clock is %v behind file time, want about an hour", last, late)
	}
	if len(line) != 2 && clock.BootID() != "" {
		t.Errorf("%d epochs, want one for the row and one for this boot: %+v", len(line), line)
	}
	p := daemontest.Start(t, config, "never said")
	var report struct{ Reasons []health.Active }
	testkit.Eventually(t, testkit.WaitLimit, "health to say it", func() bool {
		address := regexp.MustCompile(`"health":"([^"]+)"`).FindStringSubmatch(p.Stderr())
		if address == nil {
			return false
		}
		resp, err := http.Get(address[1] + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close() //nolint:errcheck // it was only read
		if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(report.Reasons, func(a health.Active) bool { return a.Code == "clock_unset" }) || clock.Synchronised() == clock.Yes
	})
	p.Signal(os.Interrupt)
	if code := p.Wait(testkit.WaitLimit); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.Stderr())
	}
	_, _, stats := read()
	for _, s := range stats {
		if s.Name == metrics.CollectFailed.Name && strings.Contains(s.Tags, "duplicate") && s.Value != 0 {
			t.Errorf("%v samples refused", s.Value)
		}
	}
}
