package probe

import (
	"bufio"
	"errors"
	"io"
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
	for _, a := range []string{addr, ":" + port, "0.0.0.0:" + port, "[::]:" + port} {
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
	// Another program listens there: its answer costs no memory, and its text is on one line.
	if _, err := Get(t.Context(), raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20), true), "/"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an endless header: got %v", err)
	}
	_, err = Get(t.Context(), raw(t, "HTTP/1.1 503 Bad\r\n\r\nmore\r\n\n  forged", false), "/")
	if want := "answered 503 Service Unavailable: more forged"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want %s", err, want)
	}
	for _, a := range []string{"", "127.0.0.1", "127.0.0.1:1"} {
		if text, err := Get(t.Context(), a, "/good"); err == nil {
			t.Errorf("%q: got %q", a, text)
		}
	}
	for a, want := range map[string]string{"[::]:1": "127.0.0.1:1", "[::1]:1": "[::1]:1", "name:1": "name:1"} {
		if got, err := Reachable(a); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", a, got, err, want)
		}
	}
}

// raw listens and gives one client an answer, if endless again and again, and hangs up.
func raw(t *testing.T, answer string, endless bool) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, err = io.WriteString(conn, answer)
		for err == nil && endless {
			_, err = io.WriteString(conn, answer)
		}
		conn.Close()
	}()
	return l.Addr().String()
}
