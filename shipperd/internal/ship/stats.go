package ship

import (
	"maps"
	"sync"
	"time"

	"belabox-metrics/shipperd/internal/victoria"
)

// Stats counts what the loop has done since the start. Safe for use by several
// goroutines.
type Stats struct {
	mu sync.Mutex
	n  Counts
}

// Counts is a snapshot of Stats. Samples unless it says otherwise.
type Counts struct {
	Uploaded      int64            // answered 2xx
	Verified      int64            // read back, or assumed where reading is not allowed
	Requeued      int64            // found missing and owed again
	Rejected      map[string]int64 // moved to the dead letters, by reason
	Clamped       int64            // sent with another timestamp
	Pruned        int64            // proven rows deleted
	Attempts      int64            // requests
	Failures      int64            // chunks whose last attempt in a cycle failed
	Retries       int64            // requests tried again in the same cycle
	Partial       int64            // chunks of which the server took a part
	BytesSent     int64
	BytesReceived int64
	LastAccepted  time.Time // wall clock
	LastVerified  time.Time
	LastError     string        // of the last failure; "" after a success
	Duration      time.Duration // of all requests together
}

// Snapshot returns the counts of this moment.
func (s *Stats) Snapshot() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.n
	c.Rejected = maps.Clone(s.n.Rejected)
	return c
}

func (s *Stats) do(f func(c *Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.n)
}

func (s *Stats) attempt(r victoria.Reply, d time.Duration) {
	s.do(func(c *Counts) {
		c.Attempts++
		c.BytesSent += r.BytesSent
		c.BytesReceived += r.BytesReceived
		c.Duration += d
	})
}

func (s *Stats) accept(n int, at time.Time) {
	s.do(func(c *Counts) { c.Uploaded += int64(n); c.LastAccepted = at; c.LastError = "" })
}

func (s *Stats) verify(n int, at time.Time) {
	s.do(func(c *Counts) { c.Verified += int64(n); c.LastVerified = at })
}

func (s *Stats) reject(reason string, n int) {
	s.do(func(c *Counts) {
		if c.Rejected == nil {
			c.Rejected = map[string]int64{}
		}
		c.Rejected[reason] += int64(n)
	})
}

func (s *Stats) failure(err error) { s.do(func(c *Counts) { c.Failures++; c.LastError = err.Error() }) }
func (s *Stats) requeue(n int)     { s.do(func(c *Counts) { c.Requeued += int64(n) }) }
func (s *Stats) clamped(n int)     { s.do(func(c *Counts) { c.Clamped += int64(n) }) }
func (s *Stats) prune(n int)       { s.do(func(c *Counts) { c.Pruned += int64(n) }) }
func (s *Stats) partial()          { s.do(func(c *Counts) { c.Partial++ }) }
func (s *Stats) retry()            { s.do(func(c *Counts) { c.Retries++ }) }
