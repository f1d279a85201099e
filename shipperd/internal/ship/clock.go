package ship

import (
	"context"
	"errors"
	"log/slog"
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

// farFrom is how far the server's clock may be from the device's without a second source.
const farFrom = 5 * time.Minute

// created returns the time for chunks of rows from first to last. ok = false
// means that timestamps may have to be moved and no clock is confirmed: nothing can
// be sent.
func (s *Shipper) created(ctx context.Context, first, last store.Key) (at time.Time, ok bool) {
	at, _, known := s.Server.ServerNow(goodFor)
	if !known {
		at = s.Now()
	}
	if s.stored(first, last, at) {
		return at.Truncate(time.Millisecond), true
	}
	at, agreed, known := s.Server.ServerNow(freshFor)
	if !known || !agreed && !s.confirmed(at) {
		if err := s.Server.FetchTime(ctx); err != nil {
			if ctx.Err() == nil {
				s.away(err)
			}
			return time.Time{}, false
		}
	}
	if at, agreed, known = s.Server.ServerNow(freshFor); !known {
		at = s.Now() // the server sends no Date: only the clock of the device is left
	}
	if !agreed && !s.confirmed(at) && !s.stored(first, last, at) {
		s.reading.clock.Fail(s.Log, slog.LevelWarn, "server's clock far from the device's and not confirmed, samples wait", nil,
			"server", at, "device", s.Now(), "remedy", "set the device's clock, or monitoring.clock_skew_url")
		s.fault(errNoClock)
		return time.Time{}, false
	}
	s.reading.clock.Recover(s.Log, "clock confirmed")
	return at.Truncate(time.Millisecond), true
}

var errNoClock = errors.New("the server's clock is far from the device's, and no second one confirms it: samples outside what the server stores wait")

// confirmed reports whether the device's clock, or monitoring.clock_skew_url's, says about the
// same.
func (s *Shipper) confirmed(at time.Time) bool {
	if at.Sub(s.Now()).Abs() <= farFrom {
		return true
	}
	other, ok := s.OtherClock()
	return ok && at.Sub(other).Abs() <= farFrom
}

// stored reports whether all timestamps of a span are within what the server
// stores at that time.
func (s *Shipper) stored(first, last store.Key, at time.Time) bool {
	return (s.cfg.MaxPast == 0 || first.TimestampMS() >= at.Add(-s.cfg.MaxPast).UnixMilli()) &&
		(s.cfg.MaxFuture == 0 || last.TimestampMS() <= at.Add(s.cfg.MaxFuture).UnixMilli())
}

// clamps reports whether timestamps of the chunk may have been moved.
func (s *Shipper) clamps(c *inflight) bool { return !s.stored(c.first, c.last, c.Created) }
