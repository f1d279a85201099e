package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			http.Error(w, "reasons", http.StatusServiceUnavailable)
		}
	})
	ts, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(ts.Close)
	t.Cleanup(secure.Close)
	f := func(want int, text string, args ...string) {
		t.Helper()
		var errs bytes.Buffer
		if got := run(args, &errs); got != want || !strings.Contains(errs.String(), text) {
			t.Errorf("%q: got %d %s, want %d %q", args, got, errs.String(), want, text)
		}
	}
	f(0, "200 OK", ts.URL+"/good")
	f(1, "503 Service Unavailable reasons", ts.URL+"/bad")
	// The address in the image stays http when the receiver gets a certificate.
	f(0, "200 OK", strings.Replace(secure.URL, "https:", "http:", 1)+"/good")
	f(1, "503 Service Unavailable reasons", strings.Replace(secure.URL, "https:", "http:", 1)+"/bad")
	f(0, "200 OK", secure.URL+"/good")
	f(1, "refused", "http://127.0.0.1:1/")
	f(2, "usage")
	f(2, "usage", "-restart")
	f(2, "usage", "a", "b")
	f(2, "", "http://\x00")
}

// A daemon that says that it stands still is ended; nothing else is, whatever it answers.
func TestRun_Restart(t *testing.T) { // not parallel: it changes what abort looks at
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(ts.Close)
	var killed []string
	defer func(p string, k func(int, syscall.Signal) error) { procfs, kill = p, k }(procfs, kill)
	procfs = t.TempDir()
	kill = func(pid int, sig syscall.Signal) error { killed = append(killed, fmt.Sprint(pid, sig)); return nil }
	if err := os.Mkdir(filepath.Join(procfs, "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := func(program string, want []string, args ...string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(procfs, "1", "cmdline"), []byte(program+"\x00-config\x00x\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		killed = nil
		run(args, io.Discard)
		if !slices.Equal(killed, want) {
			t.Errorf("%s, %q: sent %q, want %q", program, args, killed, want)
		}
	}
	const daemon = "/usr/bin/belabox-collectord"
	f(daemon, []string{"1 aborted"}, "-restart", ts.URL+"/503")
	f(daemon, nil, ts.URL+"/503")
	for _, status := range []string{"/200", "/401", "/404", "/500"} {
		f(daemon, nil, "-restart", ts.URL+status)
	}
	f(daemon, nil, "-restart", "http://127.0.0.1:1/")
	for _, other := range []string{"/sbin/init", "/usr/lib/systemd/systemd", "", "/opt/belabox-metrics/tini"} {
		f(other, nil, "-restart", ts.URL+"/503")
	}
}
