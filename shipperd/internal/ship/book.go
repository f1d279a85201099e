package ship

import (
	"slices"
	"time"

	"belabox-metrics/shared/store"
)

// parcel is an open chunk and what the loop knows about it beyond the file.
type parcel struct {
	*store.Chunk
	due    time.Time // monotonic; when something can be done about it
	unsent bool      // Sending, and the server certainly has nothing of it

	// refused: the last answer spoke against the body itself, so that the same
	// body would get it again. A Requeued chunk carries it in HTTPStatus.
	refused bool
}

// book holds the open chunks: Sending, Accepted and Requeued ones. Owned by the
// loop.
type book struct{ open []*parcel }

func (b *book) add(p *parcel) { b.open = append(b.open, p) }

// close removes a parcel whose fate is settled.
func (b *book) close(p *parcel) {
	if i := slices.Index(b.open, p); i >= 0 {
		b.open = slices.Delete(b.open, i, i+1)
	}
}

// owns reports whether a pending row belongs to an open chunk, so that no other
// chunk may carry it.
func (b *book) owns(k store.Key) bool {
	for _, p := range b.open {
		if p.State != store.Accepted && p.Keys[0] <= k && k <= p.Keys[len(p.Keys)-1] && p.Keys.Contains(k) {
			return true
		}
	}
	return false
}

// due returns the parcels in a state about which something can be done now,
// oldest rows first.
func (b *book) due(state store.ChunkState, now time.Time) []*parcel {
	var due []*parcel
	for _, p := range b.open {
		if p.State == state && !p.due.After(now) {
			due = append(due, p)
		}
	}
	slices.SortFunc(due, func(a, b *parcel) int { return int(min(1, max(-1, a.Keys[0]-b.Keys[0]))) })
	return due
}

// nextDue is when the next parcel is due; zero when none is open.
func (b *book) nextDue() time.Time {
	var first time.Time
	for _, p := range b.open {
		first = earliest(first, p.due)
	}
	return first
}
