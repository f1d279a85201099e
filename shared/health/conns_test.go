package health

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
)

// fakeConn is a connection from an address, for the table.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (f *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.from), 1))
}
func (f *fakeConn) Close() error { f.closed = true; return nil }

// table is a connection table whose clients a test moves.
type connTable struct {
	*conns
	full int
}

func newTable() *connTable {
	tab := &connTable{}
	tab.conns = newConns(func(netip.Prefix) { tab.full++ })
	return tab
}

// connect opens n connections, a second apart so that their order is known.
func (tab *connTable) connect(from string, n int, state http.ConnState) (all []*fakeConn) {
	for range n {
		c := &fakeConn{from: from}
		tab.follow(c, http.StateNew)
		if state != http.StateNew {
			tab.follow(c, state)
		}
		time.Sleep(2 * newTime)
		all = append(all, c)
	}
	return all
}

func closed(all []*fakeConn) (n int) {
	for _, c := range all {
		if c.closed {
			n++
		}
	}
	return n
}

func TestConns_LongestIdleGoes(t *testing.T) {
	t.Parallel()
	for _, state := range []http.ConnState{http.StateIdle, http.StateNew} {
		synctest.Test(t, func(t *testing.T) {
			tab := newTable()
			old := tab.connect("192.0.2.1", maxConns, state)
			tab.follow(old[0], http.StateActive) // it is used again
			tab.follow(old[0], http.StateIdle)
			tab.connect("192.0.2.1", 2, http.StateActive)
			if closed(old) != 2 || !old[1].closed || !old[2].closed || tab.full != 2 {
				t.Errorf("state %v: %d closed, %d counted, want those that were idle for longest", state, closed(old), tab.full)
			}
		})
	}
}

// TestConns_FairShares: who has few connections keeps them, also idle ones, and gets new ones, also
// while all others have requests under way.
func TestConns_FairShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		few := tab.connect("192.0.2.1", 4, http.StateIdle)
		many := tab.connect("2001:db8::1", maxConns-4, http.StateActive)
		many = append(many, tab.connect("2001:db8::2", 4, http.StateActive)...) // the same /64
		if closed(few) != 0 {
			t.Errorf("%d connections of the client with few were closed", closed(few))
		}
		few = append(few, tab.connect("192.0.2.1", 4, http.StateActive)...)
		third := tab.connect("192.0.2.2", 4, http.StateActive)
		if closed(few) != 0 || closed(third) != 0 || closed(many) < 8 {
			t.Errorf("closed: %d and %d of clients with few, %d of the one with many", closed(few), closed(third), closed(many))
		}
		if !many[len(many)-5].closed || many[0].closed {
			t.Error("not the latest request made room")
		}
	})
}

func TestConns_Spare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tab := newTable()
		all := tab.connect("192.0.2.1", maxConns, http.StateActive)
		spares := tab.connect("192.0.2.1", spareConns+1, http.StateActive)
		if closed(all) != 0 || closed(spares) != 1 || !spares[0].closed {
			t.Errorf("closed: %d of the first and %d of the spare ones, want the oldest spare one", closed(all), closed(spares))
		}
		start := time.Now()
		if tab.waitForRoom(); time.Since(start) != 0 {
			t.Errorf("the next one waited for %v, and the oldest spare one had its time", time.Since(start))
		}
		// In each roomTime come as many as there are spare places, and each of them has that time.
		for range 3 {
			for range spareConns {
				tab.waitForRoom()
				tab.follow(&fakeConn{from: "192.0.2.1"}, http.StateNew)
			}
		}
		if got := time.Since(start); got != 2*roomTime {
			t.Errorf("three times the spare places came in %v, want %v", got, 2*roomTime)
		}
		go func() {
			time.Sleep(roomTime / 2)
			tab.follow(all[0], http.StateIdle)
		}()
		start = time.Now()
		if tab.waitForRoom(); time.Since(start) != roomTime/2 {
			t.Errorf("the next one waited for %v, want until another was idle", time.Since(start))
		}
		tab.follow(all[0], http.StateClosed)
		if len(tab.open) != maxConns+spareConns-1 {
			t.Errorf("%d are open", len(tab.open))
		}
	})
}

// askOn asks for a path on a connection and leaves it open.
func askOn(conn net.Conn, path string) int {
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}

// TestServer_IdleClients: clients that ask once and stay keep nobody away. There is one line in the
// log, and each connection that was closed is counted.
func TestServer_IdleClients(t *testing.T) {
	t.Parallel()
	var refused atomic.Int32
	addr, log := serve(t, Config{Refused: func(reason string) {
		if reason == refusedConnection {
			refused.Add(1)
		}
	}}, page)
	for i := range 3 * maxConns {
		if got := askOn(dial(t, addr), []string{livePath, "/"}[i%2]); got != http.StatusOK {
			t.Fatalf("connection %d: got %d, want served", i, got)
		}
	}
	if got := refused.Load(); got != 2*maxConns {
		t.Errorf("%d counted, want %d", got, 2*maxConns)
	}
	if n := strings.Count(log.String(), `"msg":"health port overloaded"`); n != 1 {
		t.Errorf("%d lines in the log, want one:\n%s", n, log.String())
	}
}

// TestServer_BusyClients: all connections have requests that do not end. /health/live is answered,
// any other request told to come again.
func TestServer_BusyClients(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	entered := make(chan struct{}, 2*maxConns)
	addr, _ := serve(t, Config{}, func(s *Server) {
		s.Handle("/hang", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK) // ends the turn
			entered <- struct{}{}
			<-release
		}))
		page(s)
	})
	for range maxConns {
		if _, err := io.WriteString(dial(t, addr), "GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for range maxConns {
		select {
		case <-entered:
		case <-time.After(testkit.WaitLimit):
			t.Fatal("a request does not begin")
		}
	}
	for range 3 {
		if got := askOn(dial(t, addr), "/"); got != http.StatusServiceUnavailable {
			t.Errorf("another request: got %d, want 503", got)
		}
	}
	for range 2 * spareConns {
		if got := askOn(dial(t, addr), livePath); got != http.StatusOK {
			t.Errorf("%s: got %d, want 200", livePath, got)
		}
	}
}
