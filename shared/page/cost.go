package page

import (
	"cmp"
	"context"
	"time"
)

// What all requests together may take of one core, however many pages are open: a burst, which is
// what opening the page a few times takes, and a fifth of the time from then on.
const (
	budgetBurst = 10 * time.Second
	budgetShare = 5
)

// budget is what is left of that. Callers must have the turn. Its zero value is full.
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
