package ship

import (
	"math"
	"math/rand/v2"
	"time"
)

// backoff is the wait after the given failed attempt, counted from 1:
// exponential from initial_backoff, at most max_backoff, then jitter.
func backoff(c RetryConfig, attempt int, r *rand.Rand) time.Duration {
	d := float64(c.InitialBackoff) * math.Pow(c.Multiplier, float64(attempt-1))
	return jitter(time.Duration(min(d, float64(c.MaxBackoff))), c.JitterPercent, r)
}

// jitter spreads d evenly over ± percent of it.
func jitter(d time.Duration, percent float64, r *rand.Rand) time.Duration {
	return time.Duration(float64(d) * (1 + percent/100*(2*r.Float64()-1)))
}

// beyond spreads d over percent of it, never below d: for a Retry-After.
func beyond(d time.Duration, percent float64, r *rand.Rand) time.Duration {
	return time.Duration(float64(d) * (1 + percent/100*r.Float64()))
}

// afterInterval is when the next batch is due: after the interval, or sooner if more than
// MaxWaiting rows would come in it.
func (s *Shipper) afterInterval() time.Time {
	d := s.interval()
	if most := float64(s.cfg.MaxWaiting) * s.stretch(); most > 0 && s.flow.perSecond > 0 {
		d = min(d, max(time.Second, time.Duration(most/s.flow.perSecond*float64(time.Second))))
	}
	return time.Now().Add(jitter(d, s.cfg.Retry.JitterPercent, s.Rand))
}

// flow is how fast rows come.
type flow struct {
	perSecond float64   // between the last two times at which nothing was left; 0 = not known
	since     time.Time // the last of them
	rows      int       // sent since then
}

// sentAll notes that nothing is left to send.
func (f *flow) sentAll(now time.Time) {
	if d := now.Sub(f.since); !f.since.IsZero() && d > 0 {
		f.perSecond = float64(f.rows) / d.Seconds()
	}
	f.since, f.rows = now, 0
}

// earliest returns the earlier of two times; a zero time means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
