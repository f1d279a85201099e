package ship

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/truetime"
	"belabox-metrics/shipperd/internal/victoria"
)

// Samples are sent with their true time, which is recorded in the file first (see package
// truetime and docs/decisions/0009-true-time.md). Samples whose true time is not known wait. If
// the clock of this boot is not synchronised, the true time comes from the server, by the rule of
// docs/decisions/0008-evidence.md.

const (
	// freshFor is the greatest age of an answer whose time is used; goodFor is the same if no
	// timestamp has to be clamped.
	freshFor = time.Minute
	goodFor  = 10 * time.Minute
	// farFrom is how far the server's clock may be from the device's without a second source.
	farFrom = 5 * time.Minute
	// agreeWithin is the greatest difference between two sources that count as agreeing.
	agreeWithin = time.Minute
	// Each answer halves the uncertainty of the server's time, which is a second at first. At most
	// timesMost requests are sent, fewer if exactEnough is reached.
	timesMost   = 5
	exactEnough = 60 * time.Millisecond
)

// Why samples wait.
var (
	errNoClock = errors.New("the server's clock and the device's differ, and it is not known which one is right")
	errWrong   = errors.New("the device's clock is behind earlier samples or before 2000, and the server's answers have no Date that counts")
	errWhose   = errors.New("the clock of the answers and the device's differ, and the answers do not show that they are the server's")
)

// correct records the true time of all epochs for which it can be determined, and queries the
// server if necessary. The samples of the others wait. ok = the server takes requests.
func (s *Shipper) correct(ctx context.Context) (ok bool, err error) {
	epochs, err := s.Outbox.EpochSpans(ctx)
	if err != nil {
		return false, err
	}
	open := 0
	for _, e := range epochs {
		if e.How == store.HowUnknown {
			open++
		}
	}
	p, ok := s.Present(), true
	found := truetime.Derive(epochs, p)
	if len(found) < open {
		if p.Server, ok = s.serverTime(ctx, epochs); ok {
			p.WallMinusBoot = s.Present().WallMinusBoot // it may have been set meanwhile
			found = truetime.Derive(epochs, p)
		}
	}
	if len(found) > 0 {
		if err := s.Outbox.Correct(ctx, found...); err != nil {
			return false, err
		}
		s.Crash("corrected")
		for _, e := range found {
			s.Log.Info("true time of an epoch known", "how", e.How, "offset_ms", e.TrueOffset-e.WallOffset, "boot_id", e.Boot)
		}
	}
	return ok, nil
}

// created returns the true time by which timestamps in fromMS..toMS are clamped if they are
// outside what the server stores. ok = false means that they may have to be clamped and the time
// is not known: nothing can be sent.
func (s *Shipper) created(ctx context.Context, t store.Timeline, fromMS, toMS int64) (at time.Time, ok bool) {
	at, known := s.now(t)
	if times, _ := split(s.Server.ServerTimes(goodFor)); !known && len(times) > 0 {
		at = s.byBoot(times[0].Lo).Truncate(time.Millisecond) // nothing is moved by it
	}
	if known || s.stored(fromMS, toMS, at) {
		return at, true
	}
	p := s.Present()
	epochs, err := s.Outbox.EpochSpans(ctx)
	if err != nil {
		return time.Time{}, false // the next use of the file reports it
	}
	if p.Server, ok = s.serverTime(ctx, epochs); !ok {
		return time.Time{}, false
	}
	ms, ok := truetime.Now(t, p)
	return time.UnixMilli(ms), ok
}

// now returns the true time, or the wall clock's if that is not known.
func (s *Shipper) now(t store.Timeline) (at time.Time, known bool) {
	ms, known := truetime.Now(t, s.Present())
	if !known {
		return s.Now().Truncate(time.Millisecond), false
	}
	return time.UnixMilli(ms), true
}

// serverTime queries both sides of the server for the time. ok = false means that it was not
// reached, or that nothing confirms its time or, if it gives none, that of the device's clock.
func (s *Shipper) serverTime(ctx context.Context, epochs []store.EpochSpan) (_ truetime.Server, ok bool) {
	var lo, hi time.Duration
	for n := range timesMost {
		s.Beat()
		if n > 0 {
			// An answer is most informative when it distinguishes the two halves of the interval:
			// when its middle reaches a full second.
			middle := (lo+hi)/2 + s.boot()
			if !s.wait(ctx, time.Now().Add(time.Second-middle%time.Second)) {
				return truetime.Server{}, false
			}
		}
		began := s.boot()
		if err := s.Server.FetchTime(ctx); err != nil {
			if ctx.Err() == nil {
				s.away(err)
			}
			return truetime.Server{}, false
		}
		// The answer of one side counts however long the other side took.
		times, unproven := split(s.Server.ServerTimes(max(freshFor, s.boot()-began)))
		if now, by, ok := s.OtherClock(); ok {
			mid := time.Duration(now.UnixNano()) - s.boot()
			times = append(times, victoria.ServerTime{Side: other, Lo: mid - by, Hi: mid + by})
		}
		switch {
		case len(times) > 0:
			if lo, hi, ok = s.confirmed(times, unproven); !ok {
				s.timeWaits(errNoClock, "server", s.byBoot(times[0].Lo))
				return truetime.Server{}, false
			}
		case truetime.Wrong(epochs, s.Present()):
			s.timeWaits(errWrong)
			return truetime.Server{}, false
		case slices.ContainsFunc(unproven, func(t victoria.ServerTime) bool { return s.offDevice(t) > farFrom }):
			s.timeWaits(errWhose, "answers", s.byBoot(unproven[0].Lo))
			return truetime.Server{}, false
		default:
			s.timeKnown()
			return truetime.Server{Answer: truetime.Timeless}, true
		}
		s.timeKnown()
		if device := s.device(); hi-lo <= exactEnough || max(hi-device, device-lo) <= truetime.Right*time.Millisecond {
			break // in the second case the device's clock counts as right
		}
	}
	return truetime.Server{Answer: truetime.Known, Offset: ((lo + hi) / 2).Milliseconds()}, true
}

// other is the side of monitoring.clock_skew_url.
const other = victoria.Side(-1)

// boot is the boot clock.
func (s *Shipper) boot() time.Duration { return time.Duration(s.Present().BootMS) * time.Millisecond }

// device is the time of the device's clock, in the form of victoria.ServerTime.
func (s *Shipper) device() time.Duration {
	return time.Duration(s.Present().WallMinusBoot) * time.Millisecond
}

// byBoot converts a time relative to the boot clock.
func (s *Shipper) byBoot(sinceEpoch time.Duration) time.Time {
	return time.Unix(0, int64(sinceEpoch+s.boot()))
}

// timeWaits notes why samples wait although the server answers.
func (s *Shipper) timeWaits(why error, args ...any) {
	args = append(args, "device", s.Now(), "remedy", "set the device's clock, or monitoring.clock_skew_url")
	s.reading.clock.Fail(s.Log, slog.LevelWarn, "true time not confirmed, samples wait", why, args...)
	s.fault(why)
	s.Stats.unconfirmed(why, s.Now())
}

func (s *Shipper) timeKnown() {
	s.reading.clock.Recover(s.Log, "clock confirmed")
	s.Stats.unconfirmed(nil, time.Time{})
}

// confirmed returns the server's time if the device's clock or a second source agrees with it. If
// the reads have shown the server, the second source may be an unproven answer of the side that
// takes samples. If verification is off, that side is enough.
func (s *Shipper) confirmed(times, unproven []victoria.ServerTime) (lo, hi time.Duration, ok bool) {
	best, votes := 0, 0
	for i, a := range times {
		n := 0
		for _, b := range times {
			if apart(a, b) <= agreeWithin {
				n++
			}
		}
		for _, b := range unproven {
			if a.Side == victoria.Reading && b.Side == victoria.Writing && apart(a, b) <= agreeWithin {
				n++
			}
		}
		if s.offDevice(a) <= farFrom {
			n += 2 // the device's own clock decides where two sides differ
		}
		if n > votes {
			best, votes = i, n
		}
	}
	if votes < 2 && (s.cfg.Verify.Enabled || times[best].Side != victoria.Writing) {
		return 0, 0, false
	}
	lo, hi = times[best].Lo, times[best].Hi
	for _, b := range times {
		if l, h := max(lo, b.Lo), min(hi, b.Hi); l < h {
			lo, hi = l, h
		}
	}
	return lo, hi, true
}

// split separates the times that count from those that are unproven.
func split(times []victoria.ServerTime) (proven, unproven []victoria.ServerTime) {
	for _, t := range times {
		if t.Unproven {
			unproven = append(unproven, t)
		} else {
			proven = append(proven, t)
		}
	}
	return proven, unproven
}

// offDevice is the least difference between a source and the device's clock.
func (s *Shipper) offDevice(t victoria.ServerTime) time.Duration {
	return apart(t, victoria.ServerTime{Lo: s.device(), Hi: s.device()})
}

// apart is the least difference between two sources.
func apart(a, b victoria.ServerTime) time.Duration { return max(0, a.Lo-b.Hi, b.Lo-a.Hi) }

// stored reports whether the server stores all timestamps of a span at that time.
func (s *Shipper) stored(fromMS, toMS int64, at time.Time) bool {
	return (s.cfg.MaxPast == 0 || fromMS >= at.Add(-s.cfg.MaxPast).UnixMilli()) &&
		(s.cfg.MaxFuture == 0 || toMS <= at.Add(s.cfg.MaxFuture).UnixMilli())
}

// clamps reports whether timestamps of the chunk may have been clamped.
func (s *Shipper) clamps(c *inflight) bool { return !s.stored(c.from(), c.to(), c.Created) }
