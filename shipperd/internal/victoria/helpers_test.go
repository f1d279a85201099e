package victoria

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

func TestMain(m *testing.M) {
	if code, child := proxyChild(); child {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// newClient makes a Client for a server's import address.
func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve starts a server and a Client for it.
func serve(t testing.TB, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newClient(t, Config{URL: s.URL + "/api/v1/import"})
}

// rawServer lets handle deal with every connection by itself. It ends when the
// test does.
func rawServer(t testing.TB, handle func(c *net.TCPConn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c.(*net.TCPConn))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return "http://" + l.Addr().String() + "/api/v1/import"
}

// reset closes a connection so that the peer sees "connection reset".
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// readUntil reads from c until text was seen or the peer closes.
func readUntil(c io.Reader, text string) {
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(text)) {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		seen = append(seen, buf[:n]...)
	}
}

// wantError checks an error of the package.
func wantError(t testing.TB, err error, class Class, status int, ambiguous bool) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want class %s", err, class)
	}
	if e.Class != class || e.Status != status || e.Ambiguous != ambiguous {
		t.Errorf("got class %s, status %d, ambiguous %v; want %s, %d, %v (%v)", e.Class, e.Status, e.Ambiguous, class, status, ambiguous, err)
	}
	return e
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// soon is a time limit for requests that are meant to run into it.
const soon = 150 * time.Millisecond
