package ship

import (
	"maps"
	"sync"
	"time"

	"belabox-metrics/shared/store"
)

// Stats counts what the loop has done since the start. Safe for use by several
// goroutines.
type Stats struct {
	mu sync.Mutex
	n  Counts
}

// Counts is a snapshot of Stats. Samples unless it says otherwise.
type Counts struct {
	Uploaded        int64            // answered 2xx, or found at the server without an answer
	Verified        int64            // read back, or assumed where verification is off
	Deduplicated    int64            // of these, left out by the server's deduplication interval
	Requeued        int64            // found missing and owed again
	Rejected        map[string]int64 // moved to the dead letters, by reason
	Dropped         map[string]int64 // deleted undelivered, by reason
	Clamped         int64            // sent with another timestamp
	Pruned          int64            // proven rows deleted
	Attempts        int64            // requests
	Failures        int64            // chunks whose last attempt in a cycle failed
	Partial         int64            // chunks that the server accepted in part
	BytesSent       int64
	LastAccepted    time.Time        // wall clock
	LastError       error            // of the last failure; nil after a success
	StoreError      string           // why the database cannot be used; "" = it can
	StoreFailing    time.Time        // since when, wall clock
	ReadError       error            // why read-backs fail, a *victoria.Error; nil = they do not
	ReadFailing     time.Time        // since when, wall clock
	NotVisible      time.Time        // the oldest sample that is not visible; zero = none
	NotVisibleSince time.Time        // since when, wall clock
	FreedUnproven   time.Time        // when accepted, unproven samples were last dropped, wall clock
	UnconfirmedWhy  error            // why samples wait
	Unconfirmed     time.Time        // since when samples wait for their true time, wall clock; zero = none
	Corrected       map[string]int64 // of Uploaded: sent with a time other than the wall clock's, by source
	Unproven        bool             // verification is off: delivery is at least once
	Deduplicating   bool             // the server has a deduplication interval
	Unkept          time.Time        // the oldest sample accepted and not kept; zero = none
	UnkeptSince     time.Time        // when the first of them was missed, wall clock
}

// settled grows with every step towards the end.
func (c Counts) settled() int64 {
	n := c.Uploaded + c.Verified
	for _, of := range []map[string]int64{c.Rejected, c.Dropped} {
		for _, k := range of {
			n += k
		}
	}
	return n
}

// Snapshot returns the counts of this moment.
func (s *Stats) Snapshot() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.n
	c.Rejected, c.Dropped, c.Corrected = maps.Clone(s.n.Rejected), maps.Clone(s.n.Dropped), maps.Clone(s.n.Corrected)
	return c
}

func (s *Stats) do(f func(c *Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.n)
}

func (s *Stats) attempt(bytesSent int64) {
	s.do(func(c *Counts) { c.Attempts++; c.BytesSent += bytesSent })
}

func (s *Stats) accept(n int, how store.How, at time.Time) {
	if n > 0 {
		s.do(func(c *Counts) {
			c.Uploaded += int64(n)
			c.LastAccepted, c.LastError = at, nil
			if how != "" {
				addTo(&c.Corrected, string(how), n)
			}
		})
	}
}

// unconfirmed notes why samples wait although the server answers; nil = none does.
func (s *Stats) unconfirmed(why error, at time.Time) {
	s.do(func(c *Counts) {
		if c.UnconfirmedWhy = why; why == nil || c.Unconfirmed.IsZero() {
			c.Unconfirmed = at
		}
	})
}

func (s *Stats) reject(reason string, n int) { s.do(func(c *Counts) { addTo(&c.Rejected, reason, n) }) }

func (s *Stats) drop(reason string, n int) { s.do(func(c *Counts) { addTo(&c.Dropped, reason, n) }) }

func (s *Stats) freed(n int, at time.Time) {
	s.drop("unproven", n)
	s.do(func(c *Counts) { c.FreedUnproven = at })
}

func addTo(m *map[string]int64, key string, n int) {
	if *m == nil {
		*m = map[string]int64{}
	}
	(*m)[key] += int64(n)
}

// store notes whether the database can be used; nil = it can.
func (s *Stats) store(err error, at time.Time) {
	s.do(func(c *Counts) {
		switch {
		case err == nil:
			c.StoreError, c.StoreFailing = "", time.Time{}
		case c.StoreError == "":
			c.StoreFailing = at
			fallthrough
		default:
			c.StoreError = err.Error()
		}
	})
}

// reading notes whether the server can be read; nil = it can.
func (s *Stats) reading(err error, at time.Time) {
	s.do(func(c *Counts) {
		switch {
		case err == nil:
			c.ReadError, c.ReadFailing = nil, time.Time{}
		case c.ReadError == nil:
			c.ReadFailing = at
			fallthrough
		default:
			c.ReadError = err
		}
	})
}

// notVisible notes the oldest sample that does not show, while nothing shows that was sent since;
// zero = it does.
func (s *Stats) notVisible(oldest, at time.Time) {
	s.do(func(c *Counts) {
		if oldest.IsZero() {
			at = time.Time{}
		} else if !c.NotVisibleSince.IsZero() {
			at = c.NotVisibleSince
		}
		c.NotVisible, c.NotVisibleSince = oldest, at
	})
}

// unkept notes the time of the oldest sample that the server has not kept; zero = none is owed
// any more.
func (s *Stats) unkept(oldest, at time.Time) {
	s.do(func(c *Counts) {
		switch {
		case oldest.IsZero():
			c.Unkept, c.UnkeptSince = time.Time{}, time.Time{}
		case c.Unkept.IsZero():
			c.UnkeptSince = at
			fallthrough
		default:
			c.Unkept = oldest
		}
	})
}

func (s *Stats) verify(n int)           { s.do(func(c *Counts) { c.Verified += int64(n) }) }
func (s *Stats) unproven(yes bool)      { s.do(func(c *Counts) { c.Unproven = yes }) }
func (s *Stats) deduplicating(yes bool) { s.do(func(c *Counts) { c.Deduplicating = yes }) }
func (s *Stats) deduplicated(n int)     { s.do(func(c *Counts) { c.Deduplicated += int64(n) }) }
func (s *Stats) failure(err error)      { s.do(func(c *Counts) { c.Failures++; c.LastError = err }) }
func (s *Stats) requeue(n int)          { s.do(func(c *Counts) { c.Requeued += int64(n) }) }
func (s *Stats) clamped(n int)          { s.do(func(c *Counts) { c.Clamped += int64(n) }) }
func (s *Stats) prune(n int)            { s.do(func(c *Counts) { c.Pruned += int64(n) }) }
func (s *Stats) partial()               { s.do(func(c *Counts) { c.Partial++ }) }
