package victoria

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestImport_NoConnection: nothing can have been stored.
func TestImport_NoConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	refused := newClient(t, Config{URL: "http://" + l.Addr().String() + "/api/v1/import"})
	r, err := refused.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassNetwork, 0, false)
	if r.Status != 0 || r.BytesSent != 0 || !strings.Contains(err.Error(), "refused") {
		t.Errorf("reply %+v, error %v", r, err)
	}
	// RFC 2606 keeps .invalid free of hosts.
	unknown := newClient(t, Config{URL: "http://host.invalid/api/v1/import"})
	_, err = unknown.Import(t.Context(), []byte("body"), "id")
	var e *Error
	if !errors.As(err, &e) || e.Ambiguous || e.Class != ClassNetwork && e.Class != ClassTimeout {
		t.Errorf("unknown host: %v", err)
	}
}

// TestImport_Resets: once there was a connection, nobody knows what was stored.
func TestImport_Resets(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("x"), 200_000)
	const accepted = "HTTP/1.1 204 No Content\r\n\r\n"
	f := func(name string, status int, handle func(c *net.TCPConn)) {
		t.Helper()
		c := newClient(t, Config{URL: rawServer(t, handle)})
		_, err := c.Import(t.Context(), body, "id")
		e := wantError(t, err, ClassNetwork, status, true)
		if e.Error() == "" || e.RetryAfter != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("at the first byte", 0, func(c *net.TCPConn) { readUntil(c, "P"); reset(c) })
	f("after the header", 0, func(c *net.TCPConn) { readUntil(c, "\r\n\r\n"); reset(c) })
	f("in the middle", 0, func(c *net.TCPConn) { io.CopyN(io.Discard, c, 100_000); reset(c) })
	f("after the body", 0, func(c *net.TCPConn) { io.CopyN(io.Discard, c, 200_000); reset(c) })
	f("closed without an answer", 0, func(c *net.TCPConn) { io.CopyN(io.Discard, c, 200_100); c.CloseWrite(); io.Copy(io.Discard, c) })
	f("in the head of the answer", 0, func(c *net.TCPConn) {
		io.CopyN(io.Discard, c, 200_100)
		io.WriteString(c, accepted[:12])
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	f("in the body of the answer", 200, func(c *net.TCPConn) {
		io.CopyN(io.Discard, c, 200_100)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"accepted\"")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	f("in a chunk of the answer", 200, func(c *net.TCPConn) {
		io.CopyN(io.Discard, c, 200_100)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"accepted\"")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	f("no HTTP", 0, func(c *net.TCPConn) {
		io.CopyN(io.Discard, c, 200_100)
		io.WriteString(c, "220 mail.example.com ESMTP\r\n")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	f("header without end", 0, func(c *net.TCPConn) {
		io.CopyN(io.Discard, c, 200_100)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for range 1 << 20 {
			if _, err := io.WriteString(c, "X-Bomb: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
				return
			}
		}
	})
}

func TestImport_Timeouts(t *testing.T) {
	t.Parallel()
	f := func(name string, status int, handle func(c *net.TCPConn)) {
		t.Helper()
		c := newClient(t, Config{URL: rawServer(t, handle), Timeout: soon})
		_, err := c.Import(t.Context(), []byte("body"), "id")
		wantError(t, err, ClassTimeout, status, true)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("%s: %v", name, err)
		}
	}
	drip := func(c *net.TCPConn, text string) {
		tick := time.NewTicker(soon / 20)
		defer tick.Stop()
		for ; ; <-tick.C {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
	f("no answer", 0, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	f("head in drops", 0, func(c *net.TCPConn) {
		readUntil(c, "body")
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Slow: ")
		drip(c, "x")
	})
	f("body in drops", 200, func(c *net.TCPConn) {
		readUntil(c, "body")
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
		drip(c, "x")
	})
}

// TestImport_Cancelled: at shutdown the context ends; what was on its way is
// ambiguous.
func TestImport_Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, Config{URL: rawServer(t, func(c *net.TCPConn) {
		readUntil(c, "body")
		cancel()
		io.Copy(io.Discard, c)
	})})
	_, err := c.Import(ctx, []byte("body"), "id")
	wantError(t, err, ClassNetwork, 0, true)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	_, err = c.Import(ctx, []byte("body"), "id")
	wantError(t, err, ClassNetwork, 0, false)
}
