package ship

import (
	"context"
	"time"

	"belabox-metrics/shared/store"
)

// Timestamps that the server would throw away are moved to the edge of what it
// stores, seen from the time a chunk is made. That time must be the server's: a
// device without a clock battery boots in 1970, or in last year, with a backlog
// of right timestamps, and by its own clock would move every one of them.

const (
	// goodFor is how old an answer may be for its time to be a chunk's: a suspended
	// device does not count the time it slept.
	goodFor = 10 * time.Minute
	// freshFor is the same where timestamps would be moved.
	freshFor = time.Minute
)

// created returns the time for chunks of rows from first to last. ok = false
// means that timestamps may have to be moved and the server, who alone knows,
// does not answer: nothing can be sent.
func (s *Shipper) created(ctx context.Context, first, last store.Key) (at time.Time, ok bool) {
	at, _, known := s.Server.ServerNow(goodFor)
	if !known {
		at = s.Now()
	}
	if s.stored(first, last, at) {
		return at.Truncate(time.Millisecond), true
	}
	if _, _, fresh := s.Server.ServerNow(freshFor); !fresh {
		if err := s.Server.AskTime(ctx); err != nil {
			if ctx.Err() == nil {
				s.away(err)
			}
			return time.Time{}, false
		}
	}
	if at, _, known = s.Server.ServerNow(freshFor); !known {
		at = s.Now() // it does not tell the time: ours is all there is
	}
	return at.Truncate(time.Millisecond), true
}

// stored reports whether all timestamps of a span are within what the server
// stores at that time.
func (s *Shipper) stored(first, last store.Key, at time.Time) bool {
	return (s.cfg.MaxPast == 0 || first.TimestampMS() >= at.Add(-s.cfg.MaxPast).UnixMilli()) &&
		(s.cfg.MaxFuture == 0 || last.TimestampMS() <= at.Add(s.cfg.MaxFuture).UnixMilli())
}

// clamps reports whether timestamps of the chunk may have been moved.
func (s *Shipper) clamps(p *parcel) bool { return !s.stored(p.first, p.last, p.Created) }
