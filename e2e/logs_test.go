package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

// logLine is one line of a daemon's log, parsed.
type logLine map[string]any

// readLog parses what a daemon has written so far; each line must be whole.
func readLog(t *testing.T, p *testkit.Proc) (lines []logLine) {
	t.Helper()
	for _, text := range p.Lines() {
		var line logLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("the log has the line %q: %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}

// having returns the lines with a message, of those that have all the keys with
// the given values: key, value, key, value …
func having(lines []logLine, msg string, pairs ...any) []logLine {
	return slices.DeleteFunc(slices.Clone(lines), func(l logLine) bool {
		for i := 0; i < len(pairs); i += 2 {
			if l[pairs[i].(string)] != pairs[i+1] {
				return true
			}
		}
		return l["msg"] != msg
	})
}

// waitFor returns the first line with a message and the given keys.
func waitFor(t *testing.T, p *testkit.Proc, msg string, pairs ...any) (found logLine) {
	t.Helper()
	testkit.Eventually(t, testkit.WaitLimit, fmt.Sprintf("the line %q %v", msg, pairs), func() bool {
		all := having(readLog(t, p), msg, pairs...)
		if len(all) > 0 {
			found = all[0]
		}
		return len(all) > 0
	})
	return found
}

// check compares what a line has under some keys with the form it must have: a
// text is a pattern, a number is a least value.
func (l logLine) check(t *testing.T, want map[string]any) {
	t.Helper()
	for key, form := range want {
		switch form := form.(type) {
		case string:
			text, ok := l[key].(string)
			if !ok || !regexp.MustCompile("^(?:"+form+")$").MatchString(text) {
				t.Errorf("%s: got %v, want %s, in %v", key, l[key], form, l)
			}
		case int:
			if n, ok := l[key].(float64); !ok || n < float64(form) {
				t.Errorf("%s: got %v, want a number of at least %d, in %v", key, l[key], form, l)
			}
		}
	}
}

const (
	uuidForm = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`
	timeForm = `2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`
)

// TestLogs_JSON parses the lines that the daemons write: of collection, uploads,
// retries, a failure that repeats, and its end.
func TestLogs_JSON(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	vm.Then(testkit.RetryAfter(http.StatusTooManyRequests, "1"))
	r := newRig(t, vm.ImportURL(), map[string]string{"collection": "interval: 1s"})
	procfs := r.brokenProc()
	r.set("collection", "procfs_path: "+procfs)
	r.set("remote", "retry: {max_attempts: 2, initial_backoff: 100ms}")
	collectord, shipperd := r.start(r.bins.Collectord), r.start(r.bins.Shipperd)

	waitFor(t, collectord, "collected", "collector", "filesystem").check(t, map[string]any{
		"level": "DEBUG", "time": timeForm, "collector": "filesystem", "count": 0, "duration_ms": 0, "session_id": uuidForm,
	})
	broken := waitFor(t, collectord, "collector failed", "collector", "load")
	broken.check(t, map[string]any{
		"level": "WARN", "error": ".*loadavg.*", "error_type": `\S+`, "session_id": uuidForm, "failed_sensors": 0,
	})

	upload := map[string]any{
		"time": timeForm, "batch_id": uuidForm, "chunk_index": 0, "attempt": 1, "backoff_ms": 0,
		"http_status": 200, "bytes_sent": 1, "bytes_rcvd": 1, "duration_ms": 0,
	}
	retry := waitFor(t, shipperd, "upload retried")
	retry.check(t, upload)
	retry.check(t, map[string]any{
		"level": "INFO", "http_status": 429, "backoff_ms": 1000, "error": ".*429 Too Many Requests.*", "error_type": "throttled",
	})
	again := waitFor(t, shipperd, "chunk uploaded", "batch_id", retry["batch_id"], "chunk_index", retry["chunk_index"])
	again.check(t, upload)
	again.check(t, map[string]any{"level": "DEBUG", "attempt": 2, "count": 1})

	// An outage of several cycles is one line, and one when it is over. So is a
	// source that fails in each tick.
	ticks := len(having(readLog(t, collectord), "collected", "collector", "filesystem"))
	vm.GoAway()
	failed := waitFor(t, shipperd, "upload failed, samples stay in the database")
	failed.check(t, map[string]any{"level": "WARN", "backoff_ms": 100, "error": ".*refused.*", "error_type": "network"})
	testkit.Eventually(t, testkit.WaitLimit, "8 more ticks", func() bool {
		return len(having(readLog(t, collectord), "collected", "collector", "filesystem")) >= ticks+8
	})
	vm.ComeBack()
	if err := os.WriteFile(filepath.Join(procfs, "loadavg"), []byte("0.50 0.25 0.12 1/100 4242\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	waitFor(t, shipperd, "uploads work again").check(t, map[string]any{
		"level": "INFO", "failures": 2, "since": timeForm, "outage_seconds": 1,
	})
	waitFor(t, collectord, "collector works again", "collector", "load").check(t, map[string]any{
		"level": "INFO", "failures": 5, "since": timeForm, "outage_seconds": 4, "session_id": uuidForm,
	})
	for p, msg := range map[*testkit.Proc]string{collectord: "collector failed", shipperd: "upload failed, samples stay in the database"} {
		perSource := map[any]int{}
		for _, l := range having(readLog(t, p), msg) {
			if perSource[l["collector"]]++; perSource[l["collector"]] > 2 {
				t.Errorf("%q %d times: %v", msg, perSource[l["collector"]], l)
			}
		}
		r.stopDaemon(p)
	}
}

// brokenProc is a folder for collection.procfs_path in which loadavg is nonsense.
func (r *rig) brokenProc() (path string) {
	r.t.Helper()
	path = filepath.Join(r.dir, "proc")
	if err := os.MkdirAll(filepath.Join(path, "self"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"loadavg": "no load\n", "uptime": "1000.00 1000.00\n",
		"self/mounts": "/dev/root / ext4 rw 0 0\n",
	} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	return path
}

// TestLogs_Console has the same for people: one line each, level, message and
// keys, no colours in a file.
func TestLogs_Console(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	vm.Then(testkit.RetryAfter(http.StatusTooManyRequests, "1"))
	r := newRig(t, vm.ImportURL(), nil)
	r.set("logging", "format: console")
	collectord, shipperd := r.start(r.bins.Collectord), r.start(r.bins.Shipperd)
	f := func(p *testkit.Proc, level, msg string, keys ...string) {
		t.Helper()
		line := p.WaitLine(testkit.WaitLimit, level+" "+msg)
		form := `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ` + level + " " + msg
		if !regexp.MustCompile(form).MatchString(line) {
			t.Errorf("got %q, want %s", line, form)
		}
		for _, key := range keys {
			if !regexp.MustCompile(` ` + key + `=("(\\.|[^"\\])+"|[^ "]+)( |$)`).MatchString(line) {
				t.Errorf("%s is not in %q", key, line)
			}
		}
	}
	f(collectord, "INF", "collectord started", "version", "session_id", "database", "health")
	f(collectord, "DBG", "collected", "collector", "count", "duration_ms", "session_id")
	f(shipperd, "INF", "upload retried", "batch_id", "chunk_index", "attempt", "backoff_ms", "error", "error_type")
	f(shipperd, "DBG", "chunk uploaded", "batch_id", "chunk_index", "attempt", "backoff_ms", "http_status", "bytes_sent", "bytes_rcvd", "duration_ms")
	for _, p := range []*testkit.Proc{collectord, shipperd} {
		r.stopDaemon(p)
		if strings.Contains(p.Stderr(), "\x1b") {
			t.Error("there are escape sequences in a log that is no terminal")
		}
	}
}
