package daemon

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"belabox-metrics/shared/config"
)

// A daemon that says that it stands still is ended where it is process 1 of a container; nothing
// else is, whatever it answers.
func TestHealthcheck(t *testing.T) { // not parallel: it changes what abortContainer looks at
	status := 0
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health/live" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, "the answer")
	}))
	t.Cleanup(ts.Close)
	addr := ts.Listener.Addr().String()
	var killed []string
	defer func(p string, k func(int, syscall.Signal) error) { procfs, kill = p, k }(procfs, kill)
	procfs = t.TempDir()
	kill = func(pid int, sig syscall.Signal) error { killed = append(killed, fmt.Sprint(pid, sig)); return nil }
	if err := os.Mkdir(filepath.Join(procfs, "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := func(program string, code int, text string, want ...string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(procfs, "1", "cmdline"), []byte(program+"\x00-config\x00x\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		killed = nil
		p := Program{Name: "collectord", Commands: []Command{Healthcheck(func(config.HealthConfig) (string, string) { return "", addr })}}
		var out, errs bytes.Buffer
		if got := p.Main([]string{"-healthcheck"}, &out, &errs); got != code || !strings.Contains(out.String()+errs.String(), text) {
			t.Errorf("%s, %d: got exit code %d, %q and %q, want %d and %q", program, status, got, &out, &errs, code, text)
		}
		if !slices.Equal(killed, want) {
			t.Errorf("%s, %d: sent %q, want %q", program, status, killed, want)
		}
	}
	const inContainer = "/usr/bin/belabox-collectord"
	status = 200
	f(inContainer, ExitOK, "the answer\n")
	status = 503
	f(inContainer, ExitFailure, "answered 503 Service Unavailable: the answer", "1 aborted")
	for _, other := range []string{"/sbin/init", "/usr/lib/systemd/systemd", "", "/opt/belabox-metrics/tini"} {
		f(other, ExitFailure, "process 1 is "+strconv.Quote(other))
	}
	for _, status = range []int{401, 404, 500} {
		f(inContainer, ExitFailure, "answered "+strconv.Itoa(status))
	}
	ts.Close()
	f(inContainer, ExitFailure, "connection refused")
}
