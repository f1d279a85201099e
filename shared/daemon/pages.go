package daemon

import (
	"context"
	"time"
)

const (
	pagesEvery = 30 * time.Second // without rare work
	// pagesAfter is the time from rare work to the release: what it needed, the next one does.
	pagesAfter = 5 * time.Second
)

// Pages are those of the program's file that are in memory.
type Pages struct {
	least time.Duration
	used  chan struct{}
}

// NewPages returns the pages of this process. There is at least that time between two releases:
// mapping the pages again takes a millisecond of CPU time.
func NewPages(least time.Duration) *Pages { return &Pages{least: least, used: make(chan struct{}, 1)} }

// Used says that work begins that is done rarely, such as an upload. It returns at once.
func (p *Pages) Used() {
	select {
	case p.used <- struct{}{}:
	default: // it is known already
	}
}

// each calls release when it is time, until ctx ends or release fails.
func (p *Pages) each(ctx context.Context, release func() error) {
	every := max(p.least, pagesEvery)
	next := time.NewTicker(pagesAfter)
	defer next.Stop()
	for last := time.Now().Add(-every); ; {
		select {
		case <-ctx.Done():
			return
		case <-p.used:
			if since := time.Since(last); since < every { // else work that never rests would put it off for ever
				next.Reset(max(p.least-since, pagesAfter))
			}
		case <-next.C:
			next.Reset(every)
			last = time.Now()
			if release() != nil {
				return
			}
		}
	}
}
