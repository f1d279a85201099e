package health

import (
	"context"
	"sync"
	"time"
)

const (
	rememberFor = 10 * time.Second
	// costShare is the part of the time that answering may take: a count of a million rows is not made every few
	// seconds on a small machine.
	costShare = 1000
)

// Remembered is a question whose answer may cost time. It is asked at most every ten seconds, and less often the
// longer the last answer took, so that it never takes more than a thousandth of a core. Safe for use by several
// goroutines.
type Remembered[T any] struct {
	Ask func(ctx context.Context) (T, error)

	mu    sync.Mutex
	value T
	err   error
	until time.Time
}

// Get returns the answer, a new one or the last one.
func (r *Remembered[T]) Get(ctx context.Context) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	start := time.Now()
	if start.Before(r.until) {
		return r.value, r.err
	}
	value, err := r.Ask(ctx)
	if ctx.Err() != nil {
		return value, err // whoever asked went away: that is no answer for the next one
	}
	took := time.Since(start)
	r.value, r.err, r.until = value, err, start.Add(max(rememberFor, costShare*took))
	return value, err
}
