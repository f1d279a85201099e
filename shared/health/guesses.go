package health

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	freeGuesses   = 5                // wrong passwords in a row that cost no time
	guessPause    = time.Second      // between two later ones
	guessesKept   = 10 * time.Minute // after the last one
	maxGuessers   = 256              // addresses that are remembered
	guessPatience = turnLimit        // how long a request waits until its password is checked
)

// guesses slows down clients that send wrong passwords. After a few of them, each further password
// from the same address is checked a second after the one before, the right one as well: a client
// that hangs up before the answer gains nothing.
type guesses struct {
	mu sync.Mutex
	by map[netip.Prefix]*guesser
}

type guesser struct {
	wrong int       // in a row
	next  time.Time // when the next password may be checked
}

// wait returns when a password may be checked; false if that takes too long or ctx ended before.
func (g *guesses) wait(ctx context.Context, from netip.Prefix) bool {
	pause := g.reserve(from, time.Now())
	if pause <= 0 {
		return true
	}
	if pause > guessPatience {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reserve returns how long the next check has to wait, and takes its place if that is not too long.
// A check counts as wrong until it was right, so that many at once gain nothing.
func (g *guesses) reserve(from netip.Prefix, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.by[from]
	if one == nil {
		g.forget(now)
		one = &guesser{}
		g.by[from] = one
	}
	pause := max(0, one.next.Sub(now))
	if pause > guessPatience {
		return pause
	}
	one.next = now.Add(pause)
	if one.wrong++; one.wrong >= freeGuesses {
		one.next = one.next.Add(guessPause)
	}
	return pause
}

// right notes that a password was the right one.
func (g *guesses) right(from netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.by, from)
}

// forget makes room: old entries go, otherwise the one that has been quiet for longest.
func (g *guesses) forget(now time.Time) {
	var oldest netip.Prefix
	for from, one := range g.by {
		if now.Sub(one.next) > guessesKept {
			delete(g.by, from)
		} else if known := g.by[oldest]; known == nil || one.next.Before(known.next) {
			oldest = from
		}
	}
	if len(g.by) >= maxGuessers {
		delete(g.by, oldest)
	}
}
