package page

import (
	"cmp"
	"context"
	"time"

	"belabox-metrics/shared/store"
)

// What all questions together may take of one core, however many people look: a
// while at once, which is what opening the page a few times takes, and a fifth of
// the time from then on.
const (
	budgetBurst = 10 * time.Second
	budgetShare = 5
)

// budget is what is left of that. Only who has the turn uses it. Its zero value is
// full.
type budget struct {
	burst time.Duration // 0 = budgetBurst
	left  time.Duration
	at    time.Time
}

// wait returns when the budget has something left; false when ctx ends before.
func (b *budget) wait(ctx context.Context) bool {
	missing := b.missing(time.Now())
	if missing <= 0 {
		return true
	}
	timer := time.NewTimer(missing)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// missing is how long it takes until something is left.
func (b *budget) missing(now time.Time) time.Duration {
	b.left = min(cmp.Or(b.burst, budgetBurst), b.left+max(0, now.Sub(b.at))/budgetShare)
	b.at = now
	return -b.left * budgetShare
}

func (b *budget) spend(d time.Duration) { b.left -= d }

// remembered is an answer that is good for a while. Only who has the turn asks.
type remembered[T any] struct {
	age   time.Duration
	share int // at most one of so many seconds goes into the question
	ask   func(context.Context, *store.Reader) (T, error)

	value T
	err   error
	until time.Time
}

// A failure is forgotten sooner than an answer, but a question that takes too long
// must not be asked all the time.
const (
	failureAge    = 2 * time.Second
	maxFailureAge = 5 * time.Minute
)

// get returns the answer, a new one or the last. A question is carried on when who
// asked it goes away: its answer is for the next one too.
func (m *remembered[T]) get(ctx context.Context, r *store.Reader) (T, error) {
	start := time.Now()
	if start.Before(m.until) {
		return m.value, m.err
	}
	ctx, cancel := onwards(ctx)
	defer cancel()
	m.value, m.err = m.ask(ctx, r)
	rest := time.Duration(m.share) * time.Since(start)
	if m.err != nil {
		m.until = start.Add(min(max(failureAge, rest), maxFailureAge))
	} else {
		m.until = start.Add(max(m.age, rest))
	}
	return m.value, m.err
}

// onwards keeps of a context its deadline alone.
func onwards(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, limited := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	if !limited {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}
