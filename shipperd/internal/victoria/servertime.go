package victoria

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// heard is the server's clock at the moment of an answer.
type heard struct {
	server time.Time // to the second, as the Date header has it
	at     time.Time // monotonic
}

// ServerNow returns the server's time, to a second or two, as told by the Date
// header of its last answer; ok is false if that is longer ago than maxAge or if
// there was none. The device's wall clock has no part in it, and a suspended
// device should ask with a short maxAge: its monotonic clock stood still.
func (c *Client) ServerNow(maxAge time.Duration) (now time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := time.Since(c.heard.at)
	if c.heard.at.IsZero() || age > maxAge {
		return time.Time{}, false
	}
	return c.heard.server.Add(age), true
}

// Ahead returns how far the device's clock was ahead of the server's at the last answer, to some seconds, and when by
// the device's clock that was; ok is false if there was none.
func (c *Client) Ahead() (by time.Duration, at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at = c.heard.at.Round(0) // its wall clock
	return at.Sub(c.heard.server), at, !c.heard.at.IsZero()
}

// AskTime asks the server for an answer, any answer, of which ServerNow takes the
// time: HEAD /health, some 300 bytes both ways. The error is an *Error and means
// that none came. An answer without a Date is none of a server's that we know,
// but possible.
func (c *Client) AskTime(ctx context.Context) error {
	target := &url.URL{Scheme: c.importURL.Scheme, Host: c.importURL.Host, Path: "/health"}
	x, err := c.begin(ctx, "ask the time of", http.MethodHead, target, http.Header{}, nil, false)
	x.end()
	return err
}

// noteDate remembers the time of an answer. A cache on the way tells how old its
// answer is (RFC 9111, section 5.1).
func (c *Client) noteDate(header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	if age, err := strconv.Atoi(header.Get("Age")); err == nil && age > 0 {
		date = date.Add(time.Duration(age) * time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = heard{date, time.Now()}
}
