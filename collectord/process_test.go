package main

import (
	"os"
	"path/filepath"
	"testing"

	"belabox-metrics/shared/daemon/daemontest"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
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
