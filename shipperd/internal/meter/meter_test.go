package meter

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
)

// wordy hides from the meter that it wraps a socket, as on systems without TCP_INFO.
type wordy struct{ net.Conn }

// counting is a server that counts what it reads and writes.
func counting(t *testing.T, answer int) (address string, got, sent *atomic.Int64) {
	t.Helper()
	got, sent = new(atomic.Int64), new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, answer))
	}))
	s.Listener = countingListener{s.Listener, got, sent}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, got, sent
}

type countingListener struct {
	net.Listener
	got, sent *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l}, err
}

type countingConn struct {
	net.Conn
	l countingListener
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.l.got.Add(int64(n))
	return n, err
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.l.sent.Add(int64(n))
	return n, err
}

// What the meter counts is what the server has read and written, TLS included, and headers: of the
// kernel's packets, or as many as there must have been.
func TestMeter_CountsWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]DialFunc{
		"kernel": nil,
		"estimate": func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return wordy{c}, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, got, sent := counting(t, 3000)
			m := New()
			client := &http.Client{Transport: &http.Transport{DialContext: m.Dial(dial), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			var lastOut, lastIn int64
			for range 20 {
				res, err := client.Post(address, "text/plain", io.LimitReader(zeros{}, 10_000))
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close() //nolint:errcheck // it was read
				out, in := m.Total()
				if out < lastOut+10_000 || in < lastIn+3000 {
					t.Fatalf("%d and %d bytes after %d and %d", out, in, lastOut, lastIn)
				}
				lastOut, lastIn = out, in
			}
			out, in := m.Total()
			client.CloseIdleConnections()
			closedOut, closedIn := m.Total()
			if closedOut < out || closedIn < in || closedOut > out+400 || closedIn > in+400 {
				t.Errorf("closing: %d and %d became %d and %d", out, in, closedOut, closedIn)
			}
			// Segments on loopback are larger than on any other link: few headers.
			for what, n := range map[string][2]int64{"sent": {closedOut, got.Load()}, "received": {closedIn, sent.Load()}} {
				if n[0] < n[1] || float64(n[0]) > 1.2*float64(n[1]) {
					t.Errorf("%s: counted %d, the server %d", what, n[0], n[1])
				}
			}
			if a := m.Local(); a != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("the device's address is %v", a)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Failed connections and lookups cost something, too, and Close twice costs nothing twice.
func TestMeter_DialAndClose(t *testing.T) {
	t.Parallel()
	m := New()
	failing := m.Dial(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") })
	if _, err := failing(t.Context(), "tcp", "192.0.2.1:443"); err == nil {
		t.Fatal("no error")
	}
	sent, received := m.Total()
	if sent != 60 || received != 0 {
		t.Errorf("a connection that failed: %d and %d, want one packet", sent, received)
	}
	a, b := net.Pipe()
	defer b.Close() //nolint:errcheck // the test ends
	c, err := m.Dial(func(context.Context, string, string) (net.Conn, error) { return a, nil })(t.Context(), "tcp", "metrics.example:443")
	if err != nil {
		t.Fatal(err)
	}
	out, in := m.Total()
	if out < sent+100 || in < received+100 {
		t.Errorf("a lookup: %d and %d", out-sent, in-received)
	}
	for range 2 {
		_ = c.Close()
	}
	again, _ := m.Total()
	_ = c.Close()
	if n, _ := m.Total(); n != again || n <= out {
		t.Errorf("%d, closed once more %d", again, n)
	}
}

func TestInterface(t *testing.T) {
	t.Parallel()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		addrs, _ := link.Addrs()
		for i, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || i > 0 && prefix.Addr().Is4() { // the first of each interface is the one that carries
				continue
			}
			n++
			if got := Interface(prefix.Addr()); got != link.Name {
				t.Errorf("%v: got %q, want %q", prefix.Addr(), got, link.Name)
			}
		}
	}
	if n == 0 {
		t.Error("not even lo has an address")
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8::77")} {
		if got := Interface(a); got != "" {
			t.Errorf("%v: got %q", a, got)
		}
	}
}
