package victoria

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"belabox-metrics/shared/store"
)

// Side is where an answer with a time came from: the side of the server that takes samples, or that
// which shows them. In a cluster, or behind a proxy, these are different programs.
type Side int

// The sides.
const (
	Writing Side = iota // a 2xx of VictoriaMetrics' own kind to an import, or from /health
	Reading             // a read-back that showed samples, or is of VictoriaMetrics' own kind; a count
	sides
)

// ServerTime is what one side says about the time: it is at least Lo and less than Hi, as the
// time since 1970 minus the boot clock. Date has whole seconds, so one answer bounds the time to
// a second plus the round trip. Answers at different fractions of a second bound it more closely.
type ServerTime struct {
	Side   Side
	Lo, Hi time.Duration
	// Unproven: the answer has the form of the server's, but does not show that it is the server's.
	Unproven bool
}

// together is the greatest time between two answers, one of each side, that are compared.
const together = 10 * time.Minute

// drift is the greatest relative error of a cheap oscillator: old bounds are widened accordingly.
const drift = 1e-4

// serverClock is the server's time, from answers that certainly come from the server. A redirect,
// an error or an HTML page has a Date, too, but does not count: the clock of a login page may
// show anything.
type serverClock struct {
	mu       sync.Mutex
	sides    [sides]sideTime
	unproven [sides]sideTime
}

type sideTime struct {
	lo, hi time.Duration
	boot   time.Duration // boot clock at the last answer
	date   time.Time     // of the last answer, to the second
	at     time.Time     // when it came; zero = there was none
}

// noteTime remembers the time of an answer. A cache in between says how old its answer is, in
// whole seconds (RFC 9111, section 5.1).
func (x *exchange) noteTime(by Side, proven bool) {
	header := x.resp.Header
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	exact := time.Second
	if age, err := strconv.Atoi(header.Get("Age")); err == nil && age > 0 {
		date, exact = date.Add(time.Duration(age)*time.Second), 2*time.Second
	}
	c := &x.c.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.sides[by]
	if !proven {
		s = &c.unproven[by]
	}
	lo, hi := sinceEpoch(date)-x.arrivedBoot, sinceEpoch(date)+exact-x.startedBoot
	if !s.at.IsZero() {
		more := time.Duration(drift * float64(x.arrivedBoot-s.boot))
		if oldLo, oldHi := max(lo, s.lo-more), min(hi, s.hi+more); oldLo < oldHi { // else a clock was set
			lo, hi = oldLo, oldHi
		}
	}
	s.lo, s.hi, s.boot, s.date, s.at = lo, hi, x.arrivedBoot, date, time.Now()
}

func sinceEpoch(t time.Time) time.Duration { return time.Duration(t.UnixNano()) }

// ServerTimes returns the time of each side from answers within maxAge, by the boot clock; those
// that are unproven come last. The wall clock is not used.
func (c *Client) ServerTimes(maxAge time.Duration) (times []ServerTime) {
	k, now := &c.clock, c.cfg.Boot()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, of := range [...]*[sides]sideTime{&k.sides, &k.unproven} {
		for by, s := range of {
			if age := now - s.boot; !s.at.IsZero() && age <= maxAge {
				more := time.Duration(drift * float64(age))
				times = append(times, ServerTime{Side(by), s.lo - more, s.hi + more, i == 1})
			}
		}
	}
	return times
}

// Ahead returns how far the device's clock was ahead of the server's at the last answers, to some
// seconds, and when that was by the device's clock; ok is false if there was none. If the two
// sides of the server differ, the one that is closer is used: the other side is wrong, or the
// device is right.
func (c *Client) Ahead() (by time.Duration, at time.Time, ok bool) {
	k := &c.clock
	k.mu.Lock()
	defer k.mu.Unlock()
	var newest time.Time
	for _, s := range k.sides {
		if s.at.After(newest) {
			newest = s.at
		}
	}
	for _, s := range k.sides {
		ahead := s.at.Round(0).Sub(s.date) // by its wall clock
		if !s.at.IsZero() && newest.Sub(s.at) <= together && (!ok || ahead.Abs() < by.Abs()) {
			by, at, ok = ahead, s.at, true
		}
	}
	return by, at.Round(0), ok
}

// FetchTime gets the time of both sides of the server: GET /health and a count, some 900 bytes.
// The error is an *Error and means that neither side has answered as the server does. No server
// that we know answers without a Date, but it is possible.
func (c *Client) FetchTime(ctx context.Context) error {
	writing := c.fetchHealth(ctx)
	if fault, ok := errors.AsType[*Error](writing); ok && fault.Evidence() != Unreachable {
		// A proxy may route imports but not /health.
		writing = c.importNothing(ctx)
	}
	nothing := Selector{DeviceID: "none"}
	_, reading := c.Count(ctx, nothing, 0, 0)
	if errors.Is(reading, ErrNotSupported) {
		reading = c.Export(ctx, nothing, 0, 0, func([]store.Tag, []int64) error { return nil })
	}
	if reading == nil || writing == nil {
		return nil
	}
	return writing
}

func (c *Client) fetchHealth(ctx context.Context) error {
	target := &url.URL{Scheme: c.importURL.Scheme, Host: c.importURL.Host, Path: "/health"}
	x, err := c.begin(ctx, "get the time of", http.MethodGet, target, http.Header{}, nil, false)
	defer x.end()
	if err == nil && x.resp.StatusCode != http.StatusOK {
		err = x.refused()
	}
	return x.ownTime(err)
}

// importNothing sends an import without samples.
func (c *Client) importNothing(ctx context.Context) error {
	x, err := c.begin(ctx, "get the time of", http.MethodPost, c.importURL, http.Header{}, nil, false)
	defer x.end()
	if err == nil && x.resp.StatusCode/100 != 2 {
		err = x.refused()
	}
	return x.ownTime(err)
}

// ownTime notes the time of an answer whose content does not matter, if it comes from the server.
func (x *exchange) ownTime(err error) error {
	if err != nil {
		return err
	}
	if _, fail := x.readReply(); fail != nil {
		return fail
	}
	x.noteTime(Writing, x.own())
	if !x.own() {
		e := x.distrust("the answer does not show that it is the server's: it has no X-Server-Hostname")
		e.Class = ClassStranger
		return e
	}
	return nil
}
