package ship

import "time"

// sizer bounds the rows of a request where the limits of the configuration do
// not fit the way to the server: a proxy that takes less (413), or a link so slow
// that a large body does not get through within remote.timeout.
type sizer struct {
	limit  int       // rows, 0 = none
	shrunk time.Time // when the limit was last lowered
	breaks int       // requests that broke off in a row, none accepted between
}

const (
	// breaksAllowed: one may be an accident, and a server that goes away breaks
	// each request once.
	breaksAllowed = 1
	// smallest is the limit below which no broken connection lowers it: some 2 KiB
	// get through or nothing does.
	smallest = 500
	// regrow is how long a limit holds before twice as much is tried.
	regrow = 10 * time.Minute
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

func (z *sizer) fits(rows int) bool { return z.limit == 0 || rows <= z.limit }
