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

func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
