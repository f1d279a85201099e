package chunk

import (
	"sort"
	"time"
)

// A timestamp that the server would drop is moved to the outermost whole
// hour that it stores (minute or second where the limits are narrow). Where in
// that hour follows from the timestamp alone:
//
//	start of the hour + (ms within its own hour + number of its own hour) mod hour
//
// Neither the other rows of the body nor a counter has a say, because the same
// row must get the same timestamp when a part of a body is sent again, and rows
// of two bodies must not meet. Samples taken at a regular interval keep their
// distance within an hour, and those of different hours that would fall on one
// place stand a millisecond apart: a series sampled every 10 s from a wrong
// clock first meets itself after 416 days, every second after 41 days. Bodies
// made within the same hour use the same place, later ones the next hour's.

// edges are the timestamps that are sent as they are, in ms, and where the
// others go.
type edges struct {
	oldest, newest int64 // inclusive
	past, future   slot
}

// slot is where timestamps are moved to.
type slot struct{ start, width int64 }

const unbounded = 1 << 62

func edgesAt(cfg Config, created time.Time) edges {
	e := edges{oldest: -unbounded, newest: unbounded}
	now := created.UnixMilli()
	if d := cfg.MaxPast.Milliseconds(); d > 0 {
		e.oldest = now - d
		e.past.width = slotWidth(cfg.MaxPast)
		e.past.start = roundDown(e.oldest+e.past.width-1, e.past.width)
	}
	if d := cfg.MaxFuture.Milliseconds(); d > 0 {
		e.newest = now + d
		e.future.width = slotWidth(cfg.MaxFuture)
		e.future.start = roundDown(e.newest+1, e.future.width) - e.future.width
	}
	return e
}

// slotWidth leaves the most of a limit to the samples that need no moving.
func slotWidth(limit time.Duration) int64 {
	for _, d := range []time.Duration{time.Hour, time.Minute} {
		if limit >= 4*d {
			return d.Milliseconds()
		}
	}
	return time.Second.Milliseconds()
}

func roundDown(ms, width int64) int64 {
	r := ms % width
	if r < 0 {
		r += width
	}
	return ms - r
}

func (e *edges) contain(ms int64) bool { return ms >= e.oldest && ms <= e.newest }

func (s slot) place(ms int64) int64 {
	return s.start + (ms%s.width+ms/s.width)%s.width
}

// clamp moves the timestamps of one series that lie outside and sorts sent, and
// order with it. A place that is taken, by a real sample or by one moved before,
// is passed over, inward: the one case in which the rest of the body matters. It
// returns how many were moved.
func (b *Builder) clamp(e edges, sent []int64, order []int32) (moved int) {
	if len(sent) == 0 || e.contain(sent[0]) && e.contain(sent[len(sent)-1]) {
		return 0
	}
	clear(b.used)
	for _, ms := range sent {
		if e.contain(ms) {
			b.used[ms] = 0
		}
	}
	for i, ms := range sent {
		switch {
		case ms < e.oldest:
			sent[i] = b.take(e.past.place(ms), 1)
		case ms > e.newest:
			sent[i] = b.take(e.future.place(ms), -1)
		default:
			continue
		}
		moved++
	}
	sort.Sort(&bySent{sent, order})
	return moved
}

// take returns the first free place from ms on and takes it. b.used holds for a
// taken place where to look next, so that many samples on few places do not each
// walk past all before them; 0 = beside it.
func (b *Builder) take(ms, step int64) int64 {
	follow := func(at int64) (next int64, taken bool) {
		if next, taken = b.used[at]; next == 0 {
			next = at + step
		}
		return next, taken
	}
	free := ms
	for next, taken := follow(free); taken; next, taken = follow(free) {
		free = next
	}
	for at := ms; at != free; {
		next, _ := follow(at)
		b.used[at] = free + step
		at = next
	}
	b.used[free] = free + step
	return free
}

type bySent struct {
	sent  []int64
	order []int32
}

func (s *bySent) Len() int           { return len(s.sent) }
func (s *bySent) Less(i, j int) bool { return s.sent[i] < s.sent[j] }
func (s *bySent) Swap(i, j int) {
	s.sent[i], s.sent[j] = s.sent[j], s.sent[i]
	s.order[i], s.order[j] = s.order[j], s.order[i]
}
