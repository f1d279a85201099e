package daemon

import (
	"context"
	"time"
)

const (
	// pagesEvery is as often as there is a health report. Mapping the pages again takes a
	// millisecond of CPU time.
	pagesEvery = 30 * time.Second
	// pagesAfter is the time from rare work to the release: what it needed, the next one does.
	pagesAfter = 5 * time.Second
)

// Pages are those of the program's file that are in memory.
type Pages struct{ used chan struct{} }

// NewPages returns the pages of this process.
func NewPages() *Pages { return &Pages{used: make(chan struct{}, 1)} }

// Used says that work begins that is done rarely, such as an upload. It returns at once.
func (p *Pages) Used() {
	select {
	case p.used <- struct{}{}:
	default: // it is known already
	}
}

// each calls release when it is time, until ctx ends or release fails.
func (p *Pages) each(ctx context.Context, release func() error) {
	next := time.NewTicker(pagesAfter)
	defer next.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-p.used:
			if time.Since(last) < pagesEvery { // else work that never rests would put it off for ever
				next.Reset(pagesAfter)
			}
		case <-next.C:
			next.Reset(pagesEvery)
			last = time.Now()
			if release() != nil {
				return
			}
		}
	}
}
