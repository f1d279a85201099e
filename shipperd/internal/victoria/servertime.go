package victoria

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// source is the kind of answer that a time came with.
type source int

const (
	byImport source = iota // a 2xx of VictoriaMetrics' own kind to an import, or from /health
	byRead                 // a read-back that showed samples, or a count
	sources
)

// agreeWithin is how far two sources may be apart that say the same.
const agreeWithin = time.Minute

// serverClock is the server's time, from answers that have shown themselves to be the server's. A
// redirect, an error or a page of HTML has a Date too, and no say: a login page's clock may be
// anything.
type serverClock struct {
	mu    sync.Mutex
	dates [sources]struct {
		server time.Time // to the second, as the Date header has it
		at     time.Time // monotonic
	}
}

// note remembers the time of an answer. A cache on the way tells how old its answer is (RFC 9111,
// section 5.1).
func (c *serverClock) note(by source, header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	if age, err := strconv.Atoi(header.Get("Age")); err == nil && age > 0 {
		date = date.Add(time.Duration(age) * time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dates[by].server, c.dates[by].at = date, time.Now()
}

// newest returns the source that spoke last, and false if none has within maxAge.
func (c *serverClock) newest(maxAge time.Duration) (by source, ok bool) {
	for s := range c.dates {
		at := c.dates[s].at
		if !at.IsZero() && time.Since(at) <= maxAge && (!ok || at.After(c.dates[by].at)) {
			by, ok = source(s), true
		}
	}
	return by, ok
}

func (c *serverClock) now(by source) time.Time {
	return c.dates[by].server.Add(time.Since(c.dates[by].at))
}

// ServerNow returns the server's time, to a second or two, as told by the Date header of its last
// answer; ok is false if that is longer ago than maxAge or if there was none. agreed says that both
// sides of the server, that which takes samples and that which shows them, have told the same
// within maxAge. The device's wall clock has no part in it, and a suspended device should be asked
// with a short maxAge: its monotonic clock stood still.
func (c *Client) ServerNow(maxAge time.Duration) (now time.Time, agreed, ok bool) {
	k := &c.clock
	k.mu.Lock()
	defer k.mu.Unlock()
	by, ok := k.newest(maxAge)
	if !ok {
		return time.Time{}, false, false
	}
	other := byImport + byRead - by
	agreed = !k.dates[other].at.IsZero() && time.Since(k.dates[other].at) <= maxAge &&
		k.now(by).Sub(k.now(other)).Abs() <= agreeWithin
	return k.now(by), agreed, true
}

// Ahead returns how far the device's clock was ahead of the server's at the last answer, to some
// seconds, and when by the device's clock that was; ok is false if there was none.
func (c *Client) Ahead() (by time.Duration, at time.Time, ok bool) {
	k := &c.clock
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.newest(1 << 62)
	at = k.dates[s].at.Round(0) // its wall clock
	return at.Sub(k.dates[s].server), at, ok
}

// FetchTime gets the time of both sides of the server: GET /health and a count, some 900 bytes.
// The error is an *Error and means that neither side has answered as the server does. An answer
// without a Date is none of a server's that we know, but possible.
func (c *Client) FetchTime(ctx context.Context) error {
	health := c.fetchHealth(ctx)
	_, count := c.Count(ctx, Selector{DeviceID: "none"}, 0, 0)
	if count == nil || health == nil {
		return nil
	}
	return health
}

func (c *Client) fetchHealth(ctx context.Context) error {
	target := &url.URL{Scheme: c.importURL.Scheme, Host: c.importURL.Host, Path: "/health"}
	x, err := c.begin(ctx, "get the time of", http.MethodGet, target, http.Header{}, nil, false)
	defer x.end()
	switch {
	case err != nil:
		return err
	case x.resp.StatusCode != http.StatusOK:
		return x.refused()
	}
	if _, fail := x.readReply(); fail != nil {
		return fail
	}
	if !x.own() {
		e := x.distrust("the answer does not show that it is the server's: it has no X-Server-Hostname")
		e.Class = ClassStranger
		return e
	}
	c.clock.note(byImport, x.resp.Header)
	return nil
}
