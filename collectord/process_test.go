package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// panicVar makes the test binary a collectord whose log panics at the message
// that it names: a fault in the middle of the task that logs it.
const panicVar = "BELABOX_COLLECTORD_TEST_PANIC"

func TestMain(m *testing.M) {
	if msg := os.Getenv(panicVar); msg != "" {
		p := program()
		p.Serve = func(ctx context.Context, env daemon.Env) error {
			env.Log = slog.New(bomb{env.Log.Handler(), msg})
			return serve(ctx, env)
		}
		os.Exit(p.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// bomb is a log handler that panics at one message.
type bomb struct {
	slog.Handler
	msg string
}

func (b bomb) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == b.msg {
		panic("boom")
	}
	return b.Handler.Handle(ctx, r)
}

func (b bomb) WithAttrs(attrs []slog.Attr) slog.Handler {
	return bomb{b.Handler.WithAttrs(attrs), b.msg}
}

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
		p := testkit.StartProc(t, testkit.Command{Path: os.Args[0], Args: []string{"-config", config}, Env: []string{panicVar + "=collected"}})
		if code := p.Wait(20 * time.Second); code != daemon.ExitFailure {
			t.Fatalf("exit code %d, want %d:\n%s", code, daemon.ExitFailure, p.Stderr())
		}
		lines := strings.Split(strings.TrimSpace(p.Stderr()), "\n")
		var last map[string]any
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
			t.Fatal(err)
		}
		if last["level"] != "ERROR" || last["error"] != `task "collect": panic: boom` || last["error_type"] != "panic" {
			t.Errorf("the last line: %v", last)
		}
		if stack, _ := last["stack"].(string); !strings.Contains(stack, "record.go") {
			t.Errorf("the stack does not name the place:\n%s", stack)
		}
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
		if got := savedNumber(t, db, metrics.Panics.Name); got != want {
			t.Errorf("%v panics counted, want %v", got, want)
		}
	}
}

// savedNumber reads a number that collectord left in the file.
func savedNumber(t *testing.T, db, name string) float64 {
	t.Helper()
	file, err := store.OpenReader(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	stats, err := file.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stats {
		if s.Name == name && s.Daemon == "collectord" {
			return s.Value
		}
	}
	t.Fatalf("no number %s in the file", name)
	return 0
}
