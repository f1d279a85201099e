package ship

import (
	"cmp"
	"time"
)

// sizer bounds the rows of a request if the configured limits do not suit the path to the server:
// a proxy accepts less (413), or the link is so slow that a large body cannot be sent within
// remote.timeout.
type sizer struct {
	limit  int       // rows, 0 = none
	shrunk time.Time // when the limit was last lowered
	breaks int       // requests that broke off in a row, none accepted between
	quick  int       // rows of a backlog that take shortFor, judging by the last body; 0 = not known
}

const (
	// breaksAllowed: one may be an accident, and a server that goes away breaks
	// each request once.
	breaksAllowed = 1
	// smallest is the limit below which broken connections do not lower it: if not even 2 KiB get
	// through, nothing does.
	smallest = 500
	// regrow is how long a limit holds before twice as much is tried.
	regrow = 10 * time.Minute
	// shortFor is how long the present may wait for a request of the backlog, and firstShort the
	// rows of the first one: some 6 kB.
	shortFor   = 10 * time.Second
	firstShort = 2500
)

// tooLarge notes a 413.
func (z *sizer) tooLarge(rows int, now time.Time) {
	z.limit, z.shrunk = max(1, rows/2), now
}

// broke notes that a request broke off in a way that its size may have caused.
func (z *sizer) broke(rows int, now time.Time) {
	if z.breaks++; z.breaks > breaksAllowed && rows > smallest {
		z.limit, z.shrunk = max(smallest, min(rows, z.of(rows))/2), now
	}
}

// accepted notes a request that went well.
func (z *sizer) accepted(rows, most int, now time.Time) {
	z.breaks = 0
	if z.limit > 0 && rows >= z.limit/2 && now.Sub(z.shrunk) >= regrow {
		if z.limit *= 2; z.limit >= most {
			z.limit = 0
		}
	}
}

// of returns how many of the rows fit.
func (z *sizer) of(rows int) int {
	if z.limit > 0 {
		return min(rows, z.limit)
	}
	return rows
}

// took notes how long a request of a backlog was under way.
func (z *sizer) took(rows int, d time.Duration) {
	z.quick = max(smallest, int(float64(rows)*shortFor.Seconds()/max(d, time.Millisecond).Seconds()))
}

// short returns how many of the rows get through within shortFor.
func (z *sizer) short(rows int) int { return min(rows, cmp.Or(z.quick, firstShort)) }

func (z *sizer) fits(rows int) bool { return z.limit == 0 || rows <= z.limit }
