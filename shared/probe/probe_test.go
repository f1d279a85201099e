package probe

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	t.Parallel()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/good" {
			http.Error(w, "reasons "+strings.Repeat("x", 1<<20), http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(ts.Close)
	addr := ts.Listener.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	// An address to listen on stands for one to connect to.
	for _, a := range []string{addr, ":" + port, "0.0.0.0:" + port} {
		if _, err := Get(t.Context(), a, "/good"); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	_, err = Get(t.Context(), addr, "/bad")
	if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != 503 || !strings.HasPrefix(e.Body, "reasons") || len(err.Error()) > 700 {
		t.Errorf("got %v", err)
	}
	if want := "get http://" + addr + "/bad: answered 503 Service Unavailable: reasons"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %.100v, want %s", err, want)
	}
	for _, a := range []string{"", "127.0.0.1", "127.0.0.1:1"} {
		if text, err := Get(t.Context(), a, "/good"); err == nil {
			t.Errorf("%q: got %q", a, text)
		}
	}
	for a, want := range map[string]string{"[::]:1": "[::1]:1", "[::1]:1": "[::1]:1", "name:1": "name:1"} {
		if got, err := reachable(a); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", a, got, err, want)
		}
	}
}
