// Package skew compares the device's clock with the Date header of an HTTP
// server. It promises a number with its uncertainty, or nothing: a header that
// was made long ago by a cache that does not say so cannot be told from a clock
// that is off, which is why the address is its own and never the ingest URL.
package skew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"belabox-metrics/shared/logx"
)

// Config says whom to ask and when.
type Config struct {
	URL       string        // monitoring.clock_skew_url
	IngestURL string        // for the log: a person compares the two
	Interval  time.Duration // between two questions
	Warn      time.Duration // from this skew on it is a warning
}

// Deps are what a Checker works with.
type Deps struct {
	Transport http.RoundTripper // nil = as http.DefaultTransport, with the environment's proxy
	Now       func() time.Time  // the wall clock with its monotonic part; nil = time.Now
	Log       *slog.Logger
}

// Measurement is one comparison.
type Measurement struct {
	Skew        time.Duration // local minus remote: positive = the device is ahead
	Uncertainty time.Duration // half the resolution of the header, and half the round trip
	Checked     time.Time     // local wall clock
	Cached      bool          // answered by a cache, which said how old its answer is
}

// Checker asks at the start and each interval.
type Checker struct {
	cfg     Config
	deps    Deps
	client  *http.Client
	trouble *logx.Throttle

	mu    sync.Mutex
	last  Measurement
	known bool
}

// New returns a checker; nothing is asked yet.
func New(cfg Config, deps Deps) *Checker {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Transport == nil {
		deps.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	}
	return &Checker{
		cfg: cfg, deps: deps, trouble: logx.NewThrottle(time.Minute, nil),
		client: &http.Client{
			Transport: deps.Transport, Timeout: 10 * time.Second,
			// Who redirects has a Date of its own, and one answer is enough.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Last returns the last measurement; ok is false while there is none.
func (c *Checker) Last() (m Measurement, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.known
}

// Run asks until ctx ends. A failure costs nothing but the number, which then
// stays as it was.
func (c *Checker) Run(ctx context.Context) error {
	for {
		m, err := c.Measure(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.trouble.Fail(c.deps.Log, slog.LevelWarn, "clock cannot be compared", err, "clock_skew_url", c.cfg.URL)
		default:
			c.trouble.Recover(c.deps.Log, "clock can be compared again", "clock_skew_url", c.cfg.URL)
			c.note(m)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.cfg.Interval):
		}
	}
}

func (c *Checker) note(m Measurement) {
	c.mu.Lock()
	c.last, c.known = m, true
	c.mu.Unlock()
	args := []any{
		"skew_ms", m.Skew.Milliseconds(), "uncertainty_ms", m.Uncertainty.Milliseconds(), "cached", m.Cached,
		"clock_skew_url", c.cfg.URL, "ingest_url", c.cfg.IngestURL,
	}
	if m.Skew.Abs() > c.cfg.Warn {
		c.deps.Log.Warn("clock is off: samples get wrong times; set it, or let NTP set it", args...)
		return
	}
	c.deps.Log.Debug("clock compared", args...)
}

// Measure asks once. The header has whole seconds, so what it means is half a
// second later on average; it was written half a round trip before it arrived.
func (c *Checker) Measure(ctx context.Context) (m Measurement, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.cfg.URL, nil)
	if err != nil {
		return m, fmt.Errorf("monitoring.clock_skew_url: %w", err)
	}
	req.Header.Set("Cache-Control", "no-cache") // ask the origin, not a cache on the way
	asked := c.deps.Now()
	res, err := c.client.Do(req)
	if err != nil {
		return m, err
	}
	arrived := c.deps.Now()
	_, _ = io.CopyN(io.Discard, res.Body, 1<<10) // a HEAD has none; a rude server may send one
	_ = res.Body.Close()
	remote, err := remoteTime(res.Header)
	if err != nil {
		return m, fmt.Errorf("%s: %w", c.cfg.URL, err)
	}
	trip := arrived.Sub(asked) // by the monotonic clock: the wall clock may be set meanwhile
	local := arrived.Add(-trip / 2)
	m.Checked, m.Cached = arrived, res.Header.Get("Age") != "" && res.Header.Get("Age") != "0"
	m.Skew = local.Round(0).Sub(remote)
	m.Uncertainty = 500*time.Millisecond + trip/2
	if m.Cached {
		m.Uncertainty += 500 * time.Millisecond // Age has whole seconds as well
	}
	return m, nil
}

// remoteTime is the origin's clock at the moment of the answer. A cache passes
// the origin's old Date on and says in Age how many seconds ago that was.
// https://www.rfc-editor.org/rfc/rfc9111.html#section-5.1
func remoteTime(h http.Header) (time.Time, error) {
	date := h.Get("Date")
	if date == "" {
		return time.Time{}, errors.New("the answer has no Date header: name another server")
	}
	t, err := http.ParseTime(date)
	if err != nil {
		return time.Time{}, fmt.Errorf("the answer's Date %q: %w", date, err)
	}
	t = t.Add(500 * time.Millisecond)
	age := h.Get("Age")
	if age == "" {
		return t, nil
	}
	seconds, err := strconv.ParseUint(age, 10, 31)
	if err != nil {
		return time.Time{}, fmt.Errorf("the answer comes from a cache whose Age %q says nothing", age)
	}
	return t.Add(time.Duration(seconds) * time.Second), nil
}
