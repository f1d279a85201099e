// Package victoria is shipperd's HTTP edge: it sends chunks to VictoriaMetrics or
// to the project's receiver, queries what arrived, and says of every failure what it
// means.
//
// It promises that an error tells whether the server may have stored something;
// that an answer that was cut, garbled or partial is never taken for "nothing
// there" or "all accepted"; that no answer costs more than a bounded amount of
// time and memory; and that no secret is in an error. It tries nothing twice, and
// it remembers nothing but the server's clock and when connections broke: the
// rest is the business of the delivery loop.
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
	UserAgent string            // "" = belabox-metrics

	// Timeout bounds a request from dialling to the last byte of the answer, 0 = 30 s.
	Timeout time.Duration
	TLS     TLSFiles

	// Proxy returns the proxy for a request; nil = what HTTP_PROXY, HTTPS_PROXY
	// and NO_PROXY say, see http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial makes the connections; nil = over TCP. It lets a test do without sockets.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// BasicAuth is user and password.
type BasicAuth struct {
	Username string
	Password func() (string, error)
}

const (
	defaultTimeout   = 30 * time.Second
	defaultUserAgent = "belabox-metrics"
)

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
	if cfg.UserAgent == "" {
		cfg.UserAgent = defaultUserAgent
	}
	c := &Client{cfg: cfg}
	err := errors.Join(c.setURLs(), checkSettings(cfg), checkHeaders(cfg), c.makeTransport())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close closes the connections that are idle. The Client can be used on.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transport.CloseIdleConnections()
}

// HungUp tells whether between two moments, by the monotonic clock, the other
// side closed a connection without having announced it, as a server does that is
// killed. VictoriaMetrics announces what it closes on purpose (Connection: close),
// and idle connections are closed by us first.
func (c *Client) HungUp(from, to time.Time) bool { return c.wire.hangups.between(from, to) }

// Wire returns how many bytes went over all connections so far, headers, TLS and
// all.
func (c *Client) Wire() (sent, received int64) {
	return c.wire.sent.Load(), c.wire.received.Load()
}

func (c *Client) setURLs() error {
	var faults []error
	var err error
	if c.importURL, err = parseURL(c.cfg.URL); err != nil {
		faults = append(faults, fmt.Errorf("remote.url: %w", err))
	} else if c.cfg.VerifyURL == "" {
		// Who only writes needs no address to read from: reading says what is missing.
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
