package victoria

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var quiet = log.New(io.Discard, "", 0)

// countingListener counts what a server reads and writes.
type countingListener struct {
	net.Listener
	read, written, conns atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.conns.Add(1)
	return &countingServerConn{c, l}, nil
}

type countingServerConn struct {
	net.Conn
	l *countingListener
}

func (c *countingServerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.l.read.Add(int64(n))
	return n, err
}

func (c *countingServerConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.l.written.Add(int64(n))
	return n, err
}

// TestWire_CountsWhatTheServerSees: both ways, headers and TLS included, on
// connections that are used again.
func TestWire_CountsWhatTheServerSees(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	ca := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca, a.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, encrypted := range []bool{false, true} {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if strings.HasSuffix(r.URL.Path, "import") {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped(t, twoLines))
		})
		s := httptest.NewUnstartedServer(h)
		l := &countingListener{Listener: s.Listener}
		s.Listener = l
		if encrypted {
			tlsServer := a.serveTLS(nil, nil)
			s.TLS = tlsServer.TLS
			s.StartTLS()
		} else {
			s.Start()
		}
		c := newClient(t, Config{URL: s.URL + "/api/v1/import", TLS: TLSFiles{CAFile: ca}})
		var sent, received int64
		for range 5 {
			r, err := c.Import(t.Context(), bytes.Repeat([]byte("x"), 10_000), "id")
			if err != nil {
				t.Fatal(err)
			}
			sent, received = sent+r.BytesSent, received+r.BytesReceived
		}
		importSent, importReceived := c.Wire()
		if !encrypted && (sent != importSent || received != importReceived) {
			t.Errorf("replies count %d and %d bytes, all connections %d and %d", sent, received, importSent, importReceived)
		}
		if encrypted && (sent >= importSent || received >= importReceived || importSent-sent > 2000) {
			t.Errorf("replies count %d and %d bytes, all connections %d and %d with the handshake", sent, received, importSent, importReceived)
		}
		if _, err := exportAll(c, Selector{}); err != nil {
			t.Fatal(err)
		}
		allSent, allReceived := c.Wire()
		s.Close() // its last reads are done then
		// At the end each side of TLS may have written a farewell.
		if n := l.read.Load(); n < allSent || n > allSent+100 || l.conns.Load() != 1 {
			t.Errorf("encrypted %v: %d bytes sent, the server read %d on %d connections", encrypted, allSent, n, l.conns.Load())
		}
		if w := l.written.Load(); w < allReceived || w > allReceived+100 {
			t.Errorf("encrypted %v: %d bytes received, the server wrote %d", encrypted, allReceived, w)
		}
	}
}

// TestConnectionPool: requests one after the other share a connection, and of many at
// once ten at most stay open.
func TestConnectionPool(t *testing.T) {
	t.Parallel()
	var open atomic.Int64
	arrived, together := make(chan struct{}), make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Chunk-Id") == "together" {
			arrived <- struct{}{}
			<-together
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	l := &countingListener{Listener: s.Listener}
	s.Listener = l
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := newClient(t, Config{URL: s.URL + "/api/v1/import"})
	for range 20 {
		if _, err := c.Import(t.Context(), []byte("body"), "alone"); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.conns.Load(); n != 1 {
		t.Errorf("20 requests took %d connections, want 1", n)
	}
	const crowd = maxIdleConns + 5
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(func() {
			if _, err := c.Import(t.Context(), []byte("body"), "together"); err != nil {
				t.Error(err)
			}
		})
	}
	for range crowd {
		<-arrived
	}
	if n := l.conns.Load(); n != crowd {
		t.Errorf("%d requests at once took %d connections", crowd, n)
	}
	close(together)
	wg.Wait()
	testkit.Eventually(t, 10*time.Second, "the connections above ten to be closed", func() bool { return open.Load() == 10 })
	c.Close()
	testkit.Eventually(t, 10*time.Second, "the others to be closed as well", func() bool { return open.Load() == 0 })
}

// TestProxy: the proxy is used, and its password shows nowhere.
func TestProxy(t *testing.T) {
	t.Parallel()
	status := http.StatusNoContent
	var seen []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.RequestURI)
		w.WriteHeader(status)
		io.WriteString(w, r.Header.Get("Proxy-Authorization"))
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(strings.Replace(proxy.URL, "http://", "http://user:hunter2@", 1))
	if err != nil {
		t.Fatal(err)
	}
	choose := func(*http.Request) (*url.URL, error) { return u, nil }
	plain := newClient(t, Config{URL: "http://vm.example.com:8428/api/v1/import", Proxy: choose})
	if _, err := plain.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Error(err)
	}
	status = http.StatusProxyAuthRequired
	_, err = plain.Import(t.Context(), []byte("body"), "id")
	e := wantError(t, err, ClassAuth, 407, false)
	if !strings.Contains(e.Error(), "HTTP_PROXY") || strings.Contains(e.Error(), "hunter2") || strings.Contains(e.Error(), "dXNlcjpodW50ZXIy") {
		t.Error(e)
	}
	encrypted := newClient(t, Config{URL: "https://vm.example.com/api/v1/import", Proxy: choose})
	status = http.StatusBadGateway
	_, err = encrypted.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassNetwork, 0, false)
	want := []string{
		"POST http://vm.example.com:8428/api/v1/import", "POST http://vm.example.com:8428/api/v1/import", "CONNECT vm.example.com:443",
	}
	if strings.Join(seen, ", ") != strings.Join(want, ", ") {
		t.Errorf("the proxy saw %q, want %q", seen, want)
	}
	broken := newClient(t, Config{URL: "http://h/api/v1/import", Proxy: func(*http.Request) (*url.URL, error) {
		return nil, errors.New(`parse "http://user:hunter2@%zz": invalid URL escape "%zz"`)
	}})
	_, err = broken.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassAuth, 0, false)
	if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "correct HTTP_PROXY") {
		t.Error(err)
	}
}

// childEnv tells the test binary to send one import and end, see TestMain.
const childEnv = "VICTORIA_TEST_PROXY_CHILD"

func proxyChild() (code int, child bool) {
	if os.Getenv(childEnv) == "" {
		return 0, false
	}
	c, err := New(Config{URL: "http://vm.example.com/api/v1/import"})
	if err != nil {
		return 3, true
	}
	if _, err := c.Import(context.Background(), []byte("body"), "id"); err != nil {
		io.WriteString(os.Stderr, err.Error())
		return 4, true
	}
	return 0, true
}

// TestProxy_Environment needs a process of its own: the environment is read once.
func TestProxy_Environment(t *testing.T) {
	t.Parallel()
	requested := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requested <- r.RequestURI
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(proxy.Close)
	self := testkit.Self(t)
	cmd := exec.Command(self.Path, self.Args...)
	cmd.Env = []string{childEnv + "=1", "HTTP_PROXY=" + proxy.URL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := <-requested; got != "http://vm.example.com/api/v1/import" {
		t.Errorf("the proxy got a request for %q", got)
	}
}
