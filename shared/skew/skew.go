// Package skew compares the device's clock with the Date header of an HTTP server. It promises a
// number with its uncertainty, or nothing: no number is older than three intervals, and an answer
// from a cache is recognised by its Age header. An old header from a cache without Age looks like a
// wrong clock, so the address is separate and never the import URL.
package skew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"belabox-metrics/shared/logx"
)

// Config sets which server is queried and when.
type Config struct {
	URL       string        // monitoring.clock_skew_url
	IngestURL string        // for the log: a person compares the two
	Interval  time.Duration // between two questions
	Warn      time.Duration // above this skew it is a warning
}

const (
	// goodFor is for how many intervals a measurement stands while no other comes.
	goodFor = 3
	// warnEvery is the interval of log lines while the skew lasts.
	warnEvery = time.Hour
)

// Deps are what a Checker works with.
type Deps struct {
	Transport http.RoundTripper // nil = as http.DefaultTransport, with the environment's proxy
	Log       *slog.Logger
}

// Measurement is one comparison.
type Measurement struct {
	Skew        time.Duration // local minus remote: positive = the device is ahead
	Uncertainty time.Duration // half the resolution of the header, and half the round trip
	Checked     time.Time     // local wall clock
	Cached      bool          // answered by a cache, which said how old its answer is; no other answer was to be had
}

// Checker measures at the start and at each interval.
type Checker struct {
	cfg     Config
	deps    Deps
	client  *http.Client
	trouble *logx.Throttle // the server does not answer
	off     *logx.Throttle // skew above the threshold

	mu    sync.Mutex
	last  Measurement
	known bool
}

// New returns a checker; it sends nothing yet.
func New(cfg Config, deps Deps) *Checker {
	if deps.Transport == nil {
		deps.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	}
	return &Checker{
		cfg: cfg, deps: deps, trouble: logx.NewThrottle(warnEvery, nil), off: logx.NewThrottle(warnEvery, nil),
		client: &http.Client{
			Transport: deps.Transport, Timeout: 10 * time.Second,
			// Who redirects has a Date of its own, and one answer is enough.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Last returns the last measurement; ok is false while there is none, and when
// it is older than three intervals: much can happen to a clock meanwhile.
func (c *Checker) Last() (m Measurement, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.known && time.Since(c.last.Checked) <= goodFor*c.cfg.Interval
}

// Run measures until ctx ends. After failures the value expires.
func (c *Checker) Run(ctx context.Context) error {
	for {
		m, err := c.Measure(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.trouble.Fail(c.deps.Log, slog.LevelWarn, "clock check failed", err, c.addresses()...)
		default:
			c.trouble.Recover(c.deps.Log, "clock check works again", c.addresses()...)
			c.note(m)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.cfg.Interval):
		}
	}
}

// addresses are in every line, because a person compares the two.
func (c *Checker) addresses() []any {
	return []any{"clock_skew_url", c.cfg.URL, "ingest_url", c.cfg.IngestURL}
}

func (c *Checker) note(m Measurement) {
	c.mu.Lock()
	first := !c.known
	c.last, c.known = m, true
	c.mu.Unlock()
	args := append(c.addresses(),
		"skew_ms", m.Skew.Milliseconds(), "uncertainty_ms", m.Uncertainty.Milliseconds(), "cached", m.Cached)
	if m.Skew.Abs() > c.cfg.Warn {
		c.off.Fail(c.deps.Log, slog.LevelWarn, "clock skew above the threshold", nil, args...)
		return
	}
	c.off.Recover(c.deps.Log, "clock skew below the threshold again", args...)
	level := slog.LevelDebug
	if first {
		level = slog.LevelInfo
	}
	c.deps.Log.Log(context.Background(), level, "clock checked", args...)
}

// Measure sends one request, and another if a cache has answered: it is sent with
// Cache-Control: no-cache already, which many do not heed, but none can have an
// address that was never requested before.
func (c *Checker) Measure(ctx context.Context) (m Measurement, err error) {
	address, err := url.Parse(c.cfg.URL)
	if err != nil {
		return m, fmt.Errorf("monitoring.clock_skew_url: %w", err)
	}
	if m, err = c.request(ctx, address); err != nil || !m.Cached {
		return m, err
	}
	query := address.Query()
	query.Set("uncached", strconv.FormatInt(m.Checked.UnixNano(), 36))
	address.RawQuery = query.Encode()
	if again, err := c.request(ctx, address); err == nil {
		m = again
	}
	return m, nil
}

// request makes one comparison. The header has whole seconds, so what it means is
// half a second later on average; it was written half a round trip before it
// arrived.
func (c *Checker) request(ctx context.Context, address *url.URL) (m Measurement, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address.String(), nil)
	if err != nil {
		return m, err
	}
	req.Header.Set("Cache-Control", "no-cache") // from the origin, not from a cache
	sent := time.Now()
	res, err := c.client.Do(req)
	if err != nil {
		return m, err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 && res.StatusCode < 400 {
		// A login page's redirect has that page's time; after 101 the body is the bare connection.
		_ = res.Body.Close()
		return m, fmt.Errorf("%s: the answer has status %d: set the address of a server that answers directly", c.cfg.URL, res.StatusCode)
	}
	arrived := time.Now()
	_, _ = io.CopyN(io.Discard, res.Body, 1<<10) // a HEAD has none; a rude server may send one
	_ = res.Body.Close()
	date, age, err := remoteTime(res.Header)
	if err != nil {
		return m, fmt.Errorf("%s: %w", c.cfg.URL, err)
	}
	trip := arrived.Sub(sent) // by the monotonic clock: the wall clock may be set meanwhile
	m.Checked, m.Cached = arrived, age > 0
	m.Skew = arrived.Add(-trip / 2).Round(0).Sub(date.Add(500 * time.Millisecond))
	m.Uncertainty = 500*time.Millisecond + trip/2
	if m.Cached {
		m.Skew = nearer(m.Skew, m.Skew-age)
		m.Uncertainty += 500 * time.Millisecond // Age has whole seconds as well
	}
	return m, nil
}

// nearer settles whose Date an answer from a cache has. By the book it is the
// origin's, Age seconds old; but many a content network writes its own, fresh
// one beside the Age. One of the two readings is off by the Age, which is
// most likely the one that is further from our own clock.
func nearer(fresh, aged time.Duration) time.Duration {
	if fresh.Abs() < aged.Abs() {
		return fresh
	}
	return aged
}

// remoteTime returns the Date of an answer and how long it has been in caches,
// 0 for one that comes from the origin.
// https://www.rfc-editor.org/rfc/rfc9111.html#section-5.1
func remoteTime(h http.Header) (date time.Time, age time.Duration, err error) {
	text := h.Get("Date")
	if text == "" {
		return date, 0, errors.New("the answer has no Date header: set another server")
	}
	if date, err = http.ParseTime(text); err != nil {
		return date, 0, fmt.Errorf("the answer's Date %q: %w", text, err)
	}
	if text = h.Get("Age"); text == "" {
		return date, 0, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return date, 0, fmt.Errorf("the answer comes from a cache with an invalid Age %q", text)
	}
	return date, time.Duration(seconds) * time.Second, nil
}
