// Package victoria is shipperd's HTTP client: it sends chunks to VictoriaMetrics or to the
// project's receiver, queries what arrived, and classifies every failure.
//
// It promises that an error says whether the server may have stored something; that an answer
// that is truncated, malformed or partial is never mistaken for "nothing there" or "all
// accepted"; that no answer takes more than a bounded amount of time and memory; and that no
// error contains a secret. It retries nothing, and remembers only the server's clock and when
// connections broke; everything else is the task of the delivery loop.
//
// The server's interface: https://docs.victoriametrics.com/victoriametrics/url-examples/
package victoria

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where the server is and how to reach it.
type Config struct {
	// URL is the import address, http or https, without credentials.
	URL string
	// VerifyURL is the export address; "" is derived from URL, see Derive.
	VerifyURL string

	// Token returns the bearer token, nil = none. It is called for every request,
	// so that a replaced file takes effect; see TokenFile.
	Token func() (string, error)
	// BasicAuth is the other way to log in, nil = none. Password is called for
	// every request, too.
	BasicAuth *BasicAuth
	Headers   map[string]string // sent with every request

	// Timeout bounds a request from dialling to the last byte of the answer, 0 = 30 s.
	Timeout time.Duration
	TLS     TLSFiles

	// Boot is the boot clock, CLOCK_BOOTTIME; nil = the monotonic clock, which stands still while
	// the device sleeps.
	Boot func() time.Duration

	// Proxy returns the proxy for a request; nil = what HTTP_PROXY, HTTPS_PROXY
	// and NO_PROXY say, see http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial opens the connections; nil = over TCP. With it, tests need no sockets.
	Dial DialFunc
	// Meter wraps the dial function, to count the bytes below TLS; nil = it is not wrapped.
	Meter func(DialFunc) DialFunc
}

// DialFunc is that of http.Transport.DialContext.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// BasicAuth is user and password.
type BasicAuth struct {
	Username string
	Password func() (string, error)
}

const defaultTimeout = 30 * time.Second

// Client talks to one server. All methods may be called by several goroutines.
type Client struct {
	cfg       Config
	importURL *url.URL
	exportURL *url.URL // nil where it cannot be derived: then deriveErr says why
	queryURL  *url.URL
	deriveErr error
	wire      wire
	ignoresID atomic.Bool // the server that answered the last import is VictoriaMetrics itself
	clock     serverClock

	mu        sync.Mutex
	transport *http.Transport
	stamps    [3]stamp // of the TLS files when transport was made
}

// New checks cfg and returns all faults at once. It opens no connection.
func New(cfg Config) (*Client, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Boot == nil {
		began := time.Now()
		cfg.Boot = func() time.Duration { return time.Since(began) }
	}
	c := &Client{cfg: cfg}
	err := errors.Join(c.setURLs(), checkSettings(cfg), checkHeaders(cfg), c.makeTransport())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close closes idle connections. The Client can still be used afterwards.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.CloseIdleConnections()
}

// HungUp reports whether the other side closed a connection without announcing it between two
// times of the monotonic clock, as happens when a server is killed. VictoriaMetrics announces
// what it closes intentionally (Connection: close), and idle connections are closed by us first.
func (c *Client) HungUp(from, to time.Time) bool { return c.wire.hangups.between(from, to) }

// Wire returns how many bytes all connections have transferred so far, including headers and TLS.
func (c *Client) Wire() (sent, received int64) {
	return c.wire.sent.Load(), c.wire.received.Load()
}

func (c *Client) setURLs() error {
	var faults []error
	var err error
	if c.importURL, err = parseURL(c.cfg.URL); err != nil {
		faults = append(faults, fmt.Errorf("remote.url: %w", err))
	} else if c.cfg.VerifyURL == "" {
		// An address for reading is not needed if nothing is read; a read reports that it is
		// missing.
		c.exportURL, c.queryURL, c.deriveErr = derive(c.importURL)
	}
	if c.cfg.VerifyURL != "" {
		if c.exportURL, err = parseURL(c.cfg.VerifyURL); err == nil {
			c.queryURL, err = beside(c.exportURL)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("remote.verify.url: %w", err))
		}
	}
	return errors.Join(faults...)
}

func checkSettings(cfg Config) error {
	var faults []error
	if cfg.Timeout < 0 {
		faults = append(faults, fmt.Errorf("remote.timeout: %v is negative", cfg.Timeout))
	}
	if cfg.BasicAuth != nil && cfg.Token != nil {
		faults = append(faults, errors.New("remote: a token and basic auth exclude each other"))
	}
	if cfg.BasicAuth != nil && cfg.BasicAuth.Password == nil {
		faults = append(faults, errors.New("remote.basic_auth: no password"))
	}
	return errors.Join(faults...)
}

// checkHeaders names the header but never its value.
func checkHeaders(cfg Config) error {
	var faults []error
	for name, value := range cfg.Headers {
		if !isToken(name) {
			faults = append(faults, fmt.Errorf("remote.headers: %q is not the name of an HTTP header", name))
		} else if hasControl(value) {
			faults = append(faults, fmt.Errorf("remote.headers.%s: contains a control character", name))
		}
	}
	return errors.Join(faults...)
}

// isToken: RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		alphanumeric := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// hasControl finds what no header may carry.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
