package front

import (
	"slices"
	"sync"
	"time"
)

// Tally counts the requests that met a mode, from Set on until the next Set.
type Tally struct {
	mu    sync.Mutex
	start time.Time
	ended time.Time // zero = not yet
	seen  []request
}

type request struct {
	after time.Duration // since the start
	kind  Kind
}

func newTally() *Tally { return &Tally{start: time.Now()} }

func (t *Tally) note(kind Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, request{time.Since(t.start), kind})
}

func (t *Tally) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = time.Now()
}

// Lasted returns how long the mode was set, or has been set until now.
func (t *Tally) Lasted() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended.IsZero() {
		return time.Since(t.start)
	}
	return t.ended.Sub(t.start)
}

// Count returns the number of requests of the kinds; without kinds, of all.
func (t *Tally) Count(kinds ...Kind) int {
	return t.Between(0, 1<<62, kinds...)
}

// Between is Count for the requests that came from a moment on and before another,
// both since the start.
func (t *Tally) Between(from, to time.Duration, kinds ...Kind) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.seen {
		if r.after >= from && r.after < to && wanted(r.kind, kinds) {
			n++
		}
	}
	return n
}

// PerSecond returns Count by the time that the mode has lasted.
func (t *Tally) PerSecond(kinds ...Kind) float64 {
	return float64(t.Count(kinds...)) / t.Lasted().Seconds()
}

// Busiest returns the most requests of the kinds that came within one second.
func (t *Tally) Busiest(kinds ...Kind) (most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var within []time.Duration
	for _, r := range t.seen {
		if !wanted(r.kind, kinds) {
			continue
		}
		within = append(within, r.after)
		for within[0] <= r.after-time.Second {
			within = within[1:]
		}
		most = max(most, len(within))
	}
	return most
}

func wanted(kind Kind, kinds []Kind) bool { return len(kinds) == 0 || slices.Contains(kinds, kind) }
