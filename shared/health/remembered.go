package health

import (
	"cmp"
	"context"
	"sync"
	"time"
)

const (
	rememberFor = 10 * time.Second
	// costShare is the part of the time that reading may take: a count of a million rows is not
	// made every few seconds on a small machine.
	costShare = 1000
	// A value that would become older than this may cost ten times as much, to be that old at most.
	oldest = time.Minute
	// A failure is forgotten sooner, but a read that takes too long must not be tried all the time.
	failureAge    = 2 * time.Second
	maxFailureAge = 5 * time.Minute
)

// Remembered is a value that costs time to read. It is read again when it is older than Age, and
// later the longer the last reading took, so that reading takes at most 1/Share of a core. Safe for
// use by several goroutines.
type Remembered[T any] struct {
	Age   time.Duration // 0 = 10 s
	Share int           // 0 = 1000, and 100 where the value would otherwise be older than a minute
	// Read reads the value. If the context of the caller has a deadline, reading continues until
	// then even if the caller leaves: the next caller gets the value.
	Read func(ctx context.Context) (T, error)

	mu    sync.Mutex
	value T
	err   error
	until time.Time
}

// Get returns the value, a new one or the last one.
func (r *Remembered[T]) Get(ctx context.Context) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	start := time.Now()
	if start.Before(r.until) {
		return r.value, r.err
	}
	if deadline, limited := ctx.Deadline(); limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline)
		defer cancel()
	}
	value, err := r.Read(ctx)
	if _, limited := ctx.Deadline(); !limited && ctx.Err() != nil {
		return value, err // cut short, so it is no answer for the next one
	}
	rest := time.Duration(cmp.Or(r.Share, costShare)) * time.Since(start)
	if r.Share == 0 && rest > oldest {
		rest = max(oldest, rest/10)
	}
	keep := max(cmp.Or(r.Age, rememberFor), rest)
	if err != nil {
		keep = min(max(failureAge, rest), maxFailureAge)
	}
	r.value, r.err, r.until = value, err, start.Add(keep)
	return value, err
}
