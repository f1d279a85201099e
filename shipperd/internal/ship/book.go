package ship

import (
	"cmp"
	"slices"
	"time"

	"belabox-metrics/shared/store"
)

// parcel is an open chunk and what the loop knows about it beyond the file.
type parcel struct {
	*store.Chunk
	first, last store.Key
	n           int    // rows
	packed      []byte // Keys while the chunk is Accepted: hours of them are kept where nobody can be asked

	due    time.Time // when something can be done about it
	born   time.Time // when it was recorded; zero = by an earlier run
	tried  time.Time // when its last attempt ended; zero = in an earlier run
	unsent bool      // Sending, and the server certainly has nothing of it
	heard  bool      // the server has answered something since its last attempt

	// What speaks against it, see suspect.go.
	refused bool      // the last answer spoke against the body itself
	accused time.Time // when it, or the chunk it was a part of, was refused first
	struck  time.Time // when it was refused last
	strikes int       // times that a single row was refused by a server that was well
	breaks  int       // requests with it that broke off, in a row
	failed  bool      // the last answer was an error of the server itself
	doubts  int       // times that a server that was well answered so, in a row
	owing   int       // times it was found missing after a 2xx, whatever the reason

	undecided time.Duration // it may have been thinned out, by this interval, see thin.go
	answered  int           // the HTTP status of the last answer
}

func newParcel(c *store.Chunk) *parcel {
	p := &parcel{Chunk: c}
	p.measure()
	return p
}

// measure follows a change of Keys.
func (p *parcel) measure() {
	if p.n = len(p.Keys); p.n > 0 {
		p.first, p.last = p.Keys[0], p.Keys[p.n-1]
	}
}

func (p *parcel) pack() { p.packed, p.Keys = p.Keys.Pack(), nil }

func (p *parcel) unpack() (err error) {
	if p.packed != nil {
		p.Keys, err = store.UnpackKeySet(p.packed)
		p.packed = nil
	}
	return err
}

// ambiguous: the server may have some of it.
func (p *parcel) ambiguous() bool { return p.State == store.Sending && !p.unsent }

// owed: it can be sent without asking the server.
func (p *parcel) owed() bool {
	return p.State == store.Requeued || p.State == store.Sending && p.unsent
}

// overlaps tells whether the chunk has rows in a span of milliseconds.
func (p *parcel) overlaps(fromMS, toMS int64) bool {
	return p.first.TimestampMS() <= toMS && fromMS <= p.last.TimestampMS()
}

// book holds the open chunks: Sending, Accepted and Requeued ones.
type book struct{ open []*parcel }

func (b *book) add(p *parcel) { b.open = append(b.open, p) }

// close removes parcels whose fate is settled.
func (b *book) close(settled ...*parcel) {
	gone := make(map[*parcel]bool, len(settled))
	for _, p := range settled {
		gone[p] = true
	}
	b.open = slices.DeleteFunc(b.open, func(p *parcel) bool { return gone[p] })
}

// due returns the parcels for which something can be done now, oldest rows first.
func (b *book) due(now time.Time, which func(*parcel) bool) []*parcel {
	var due []*parcel
	for _, p := range b.open {
		if !p.due.After(now) && which(p) {
			due = append(due, p)
		}
	}
	slices.SortStableFunc(due, func(a, b *parcel) int { return cmp.Compare(a.first, b.first) })
	return due
}

// owner returns a function that tells whether a pending row belongs to an open
// chunk, so that no other may carry it; nil where no row does. It is asked for
// rows in ascending order.
func (b *book) owner() func(store.Key) bool {
	var holders []*parcel
	for _, p := range b.open {
		if p.State != store.Accepted {
			holders = append(holders, p)
		}
	}
	if len(holders) == 0 {
		return nil
	}
	return func(k store.Key) bool {
		return slices.ContainsFunc(holders, func(p *parcel) bool {
			return p.first <= k && k <= p.last && p.Keys.Contains(k)
		})
	}
}
