package victoria

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits on what a server can make us spend. remote.timeout bounds a whole request, these bound
// its parts.
const (
	dialTimeout = 10 * time.Second // for the connection and again for its TLS
	// idleTimeout is below VictoriaMetrics' own (-http.idleConnTimeout, a minute): because we close
	// first, the server does not close a connection just when we send a request.
	idleTimeout    = 50 * time.Second
	maxIdleConns   = 10
	maxHeaderBytes = 64 << 10
)

// wire is what is known of all connections together.
type wire struct {
	sent, received atomic.Int64 // bytes
	hangups        hangups
}

// conn counts its own bytes, too, to determine those of one request.
type conn struct {
	net.Conn
	total          *wire
	sent, received atomic.Int64
	closed         atomic.Bool // by us
}

// Read is also called while a connection is idle, because the transport watches for unexpected
// data. The end of a server is therefore noticed at once.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	c.total.received.Add(int64(n))
	if err != nil && !c.closed.Load() {
		c.total.hangups.add(time.Now())
	}
	return n, err
}

func (c *conn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	c.total.sent.Add(int64(n))
	return n, err
}

// hangups are the last times at which a connection ended unannounced.
type hangups struct {
	mu    sync.Mutex
	times [16]time.Time
	n     int
}

func (h *hangups) add(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.times[h.n%len(h.times)] = t
	h.n++
}

func (h *hangups) between(from, to time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.times[:min(h.n, len(h.times))], func(t time.Time) bool { return !t.Before(from) && !t.After(to) })
}

// countingConn returns the conn below TLS, nil where there is none.
func countingConn(c net.Conn) *conn {
	for {
		switch v := c.(type) {
		case *conn:
			return v
		case *tls.Conn:
			c = v.NetConn()
		default:
			return nil
		}
	}
}

// newTransport uses only HTTP/1.1, where a connection carries one request at a time: what is
// known about a connection is known about its request.
func (c *Client) newTransport(tlsConfig *tls.Config) *http.Transport {
	dial := c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: unackedAtMost(c.cfg.Timeout)}).DialContext
	}
	if c.cfg.Meter != nil {
		dial = c.cfg.Meter(dial)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: c.proxy,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: nc, total: &c.wire}, nil
		},
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // requested where it pays: the header costs more than it saves for an import
		Protocols:              &protocols,
	}
}

// proxy does not print a malformed proxy address, because it may contain a password.
func (c *Client) proxy(req *http.Request) (*url.URL, error) {
	choose := c.cfg.Proxy
	if choose == nil {
		choose = http.ProxyFromEnvironment
	}
	u, err := choose(req)
	if err != nil {
		return nil, fmt.Errorf("%w: the address of the proxy is malformed: correct HTTP_PROXY or HTTPS_PROXY", errConfiguration)
	}
	return u, nil
}
