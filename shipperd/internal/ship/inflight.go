package ship

import (
	"cmp"
	"slices"
	"time"

	"belabox-metrics/shared/store"
)

// inflight is a chunk that is not settled, and what the loop knows about it beyond the file.
type inflight struct {
	*store.Chunk
	state       state
	first, last store.Key
	n           int       // rows
	offset      int64     // makes the milliseconds of its keys true time, see store.Timeline
	how         store.How // where that is from; "" = it is the wall clock's
	packed      []byte    // Keys while not needed, packed: hours of them may be in flight

	due      time.Time // when the next step is due
	born     time.Time // when it was recorded; zero = by an earlier run
	tried    time.Time // when its last request ended; zero = in an earlier run
	attempt  uint32    // the number of that request, see order
	shared   bool      // that request had other chunks, too, which may be the cause of a failure
	answered bool      // the server has answered something since
	status   int       // the HTTP status of its last answer

	suspicion suspicion
	lost      int // times it was found lost after a 2xx, whatever the reason

	absent    time.Time     // of the first read-back that lacked samples; zero = none has
	shown     int           // rows that the last read-back showed although an earlier one lacked them
	shownAt   time.Time     // since when so many
	silent    time.Time     // since when it lacks them while others show
	seen      uint32        // order.newest at the last read-back
	undecided time.Duration // the server may leave it out, by this deduplication interval
}

// suspicion is the evidence against the content of a chunk, see refusals.go.
type suspicion struct {
	refused bool      // the last answer refused the body itself
	failed  bool      // the last answer was an error of the server
	since   time.Time // of the first such answer, to it or to the chunk it was a part of
	last    time.Time // of the last such answer
	strikes int       // times that a server that accepts others refused this single row
	breaks  int       // requests with it that broke off, in a row
	fails   int       // times in a row that a server that accepts others answered 5xx
}

// newInflight makes a chunk of rows of one offset.
func newInflight(c *store.Chunk, t store.Timeline) *inflight {
	e := t.Epoch(c.Keys[0])
	f := &inflight{Chunk: c, offset: e.Offset()}
	if e.Corrected() {
		f.how = e.How
	}
	f.measure()
	return f
}

// measure follows a change of Keys.
func (c *inflight) measure() {
	if c.n = len(c.Keys); c.n > 0 {
		c.first, c.last = c.Keys[0], c.Keys[c.n-1]
	}
}

// from and to are the true time of the first and the last row.
func (c *inflight) from() int64 { return c.first.TimestampMS() + c.offset }
func (c *inflight) to() int64   { return c.last.TimestampMS() + c.offset }

func (c *inflight) pack() {
	if c.uploaded() && c.Keys != nil { // owner needs the keys of the others
		c.packed, c.Keys = c.Keys.Pack(), nil
	}
}

func (c *inflight) unpack() (err error) {
	if c.packed != nil {
		c.Keys, err = store.UnpackKeySet(c.packed)
		c.packed = nil
	}
	return err
}

// uploaded reports whether its rows are marked: the server has answered 2xx.
func (c *inflight) uploaded() bool { return c.State == store.Accepted }

// refused reports whether the last answer was a 4xx to its body.
func (c *inflight) refused() bool { return c.suspicion.refused && !c.uploaded() }

// toSend reports whether it can be sent without a read-back.
func (c *inflight) toSend() bool { return c.state == recorded || c.state == owed }

// overlaps reports whether the chunk has rows in a span of milliseconds.
func (c *inflight) overlaps(fromMS, toMS int64) bool {
	return c.from() <= toMS && fromMS <= c.to()
}

// inflights are all chunks in flight.
type inflights struct{ all []*inflight }

func (s *inflights) add(c *inflight) { s.all = append(s.all, c) }

func (s *inflights) remove(c *inflight) {
	s.all = slices.DeleteFunc(s.all, func(o *inflight) bool { return o == c })
}

// due returns the chunks for which something can be done now, oldest rows first.
func (s *inflights) due(now time.Time, which func(*inflight) bool) []*inflight {
	var due []*inflight
	for _, c := range s.all {
		if !c.due.After(now) && which(c) {
			due = append(due, c)
		}
	}
	slices.SortStableFunc(due, func(a, b *inflight) int { return cmp.Compare(a.first, b.first) })
	return due
}

// in returns a filter for due.
func in(states ...state) func(*inflight) bool {
	return func(c *inflight) bool { return slices.Contains(states, c.state) }
}

// owner returns a function that reports whether a pending row belongs to an in-flight chunk, so
// that no other chunk may contain it; nil if no row does. Callers pass rows in ascending order.
func (s *inflights) owner() func(store.Key) bool {
	var holders []*inflight
	for _, c := range s.all {
		if !c.uploaded() {
			holders = append(holders, c)
		}
	}
	if len(holders) == 0 {
		return nil
	}
	return func(k store.Key) bool {
		return slices.ContainsFunc(holders, func(c *inflight) bool {
			return c.first <= k && k <= c.last && c.Keys.Contains(k)
		})
	}
}
