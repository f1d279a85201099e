package health

import (
	"sync/atomic"
	"time"
)

// Progress is the heartbeat of a daemon's working loop. It uses the monotonic clock, so a clock
// step does not affect it. Safe for use by several goroutines; no method allocates.
type Progress struct {
	limit time.Duration
	now   func() time.Time
	start time.Time    // with the monotonic reading, when now gives one
	last  atomic.Int64 // nanoseconds from start to the last beat
}

// NewProgress returns a heartbeat that is alive as long as the last beat, or the call of
// NewProgress, is at most limit ago. A nil now means time.Now; another now must return times with a
// monotonic reading.
func NewProgress(limit time.Duration, now func() time.Time) *Progress {
	if now == nil {
		now = time.Now
	}
	return &Progress{limit: limit, now: now, start: now()}
}

// Beat records that the loop has advanced.
func (p *Progress) Beat() { p.last.Store(int64(p.now().Sub(p.start))) }

// Since returns the time since the last beat, 0 or more.
func (p *Progress) Since() time.Duration {
	return max(0, p.now().Sub(p.start)-time.Duration(p.last.Load()))
}

// Alive reports whether the last beat is no longer ago than the limit.
func (p *Progress) Alive() bool { return p.Since() <= p.limit }
