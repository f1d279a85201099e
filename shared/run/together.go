package run

import "time"

// Together returns how long what is done every d, again and again, should wait for its next turn: to
// the next multiple of d by the wall clock, or the one after if that is less than d/100 away. So
// none is later than d by more than that. To wake up costs a daemon more than most of what it then
// does, so all of that is done in the wake-up of a tick, whose times are multiples too: a
// millisecond later.
func Together(d time.Duration) time.Duration {
	now := time.Now()
	wait := now.Truncate(d).Add(d).Sub(now) + time.Millisecond
	if wait < d/100 {
		wait += d
	}
	return wait
}
