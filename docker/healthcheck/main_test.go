package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			http.Error(w, "reasons", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(ts.Close)
	f := func(want int, text string, args ...string) {
		t.Helper()
		var errs bytes.Buffer
		if got := run(args, &errs); got != want || !strings.Contains(errs.String(), text) {
			t.Errorf("%q: got %d %s, want %d %q", args, got, errs.String(), want, text)
		}
	}
	f(0, "200 OK", ts.URL+"/good")
	f(1, "503 Service Unavailable reasons", ts.URL+"/bad")
	f(1, "refused", "http://127.0.0.1:1/")
	f(2, "usage")
	f(2, "usage", "a", "b")
	f(2, "", "http://\x00")
}
