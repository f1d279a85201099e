// Package daemontest has the tests that both daemons share: a clean end after a panic, and a value
// for every self-metric in the table.
//
// It promises that a daemon which it starts ends with the test.
package daemontest

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// panicVar makes of a test binary the daemon, whose log panics at the message that
// it names: a fault in the middle of the task that logs it.
const panicVar = "BELABOX_TEST_PANIC"

// Main is the TestMain of a daemon.
func Main(m *testing.M, p daemon.Program) {
	msg := os.Getenv(panicVar)
	if msg == "" {
		os.Exit(m.Run())
	}
	serve := p.Serve
	p.Serve = func(ctx context.Context, env daemon.Env) error {
		env.Log = slog.New(bomb{env.Log.Handler(), msg})
		return serve(ctx, env)
	}
	os.Exit(p.Main(os.Args[1:], os.Stdout, os.Stderr))
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

// Start runs the daemon of this test binary, whose TestMain is Main. It panics when it logs msg.
func Start(t *testing.T, config, msg string) *testkit.Proc {
	t.Helper()
	self := testkit.Self(t)
	self.Args, self.Env = append(self.Args, "-config", config), []string{panicVar + "=" + msg}
	return testkit.StartProc(t, self)
}

// Panic runs the daemon of this test binary, whose TestMain is Main, until it logs
// msg and panics. It must end with ExitFailure, and its last line, in JSON, name the
// task and in its stack the file.
func Panic(t *testing.T, config, msg, task, file string) {
	t.Helper()
	p := Start(t, config, msg)
	if code := p.Wait(2 * time.Minute); code != daemon.ExitFailure {
		t.Fatalf("exit code %d, want %d:\n%s", code, daemon.ExitFailure, p.Stderr())
	}
	lines := strings.Split(strings.TrimSpace(p.Stderr()), "\n")
	var last map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if last["level"] != "ERROR" || last["error"] != `task "`+task+`": panic: boom` || last["error_type"] != "panic" {
		t.Errorf("the last line: %v", last)
	}
	if stack, _ := last["stack"].(string); !strings.Contains(stack, file) {
		t.Errorf("the stack does not name the place:\n%s", stack)
	}
}

// SavedNumber returns a number that a daemon left in the file.
func SavedNumber(t *testing.T, db, daemon, name string) float64 {
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
		if s.Name == name && s.Daemon == daemon {
			return s.Value
		}
	}
	t.Fatalf("no number %s of %s in the file", name, daemon)
	return 0
}

// Table compares the self-metrics that a daemon exposes with the table: all of them, and nothing
// else. It returns the text.
func Table(t *testing.T, set *metrics.Set, table []*metrics.Metric) string {
	t.Helper()
	var page strings.Builder
	if err := set.WriteText(&page); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range table {
		want[strings.ReplaceAll(m.Name, ".", "_")] = true
	}
	got := map[string]bool{}
	for line := range strings.Lines(page.String()) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			got[strings.Fields(rest)[0]] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	return page.String()
}
