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

// afterInterval is when the next batch is due.
func (s *Shipper) afterInterval() time.Time {
	return time.Now().Add(jitter(s.interval(), s.cfg.Retry.JitterPercent, s.Rand))
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
