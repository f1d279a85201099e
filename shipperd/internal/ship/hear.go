package ship

import (
	"slices"
	"time"
)

// While nothing gets through, what an attempt has sent may wait on the way: a
// proxy or a modem holds it, or the kernel sends it again and again. It arrives
// with the first requests after the outage, long after we gave the attempt up. An
// answer of that moment is worth nothing: what is absent may be about to arrive,
// and would be doubled by a resend; what is there is a second old, and a server
// killed now forgets it. So Settle counts from the first answer after the attempt.

// hear notes that the server has answered something.
func (s *Shipper) hear() {
	for _, p := range s.book.open {
		if p.ambiguous() && !p.heard {
			p.heard = true
			p.due = later(p.due, time.Now().Add(s.cfg.Verify.Settle))
		}
	}
}

// early reports whether the answer about chunks was the first one after an attempt
// of theirs.
func early(group []*parcel) bool {
	return slices.ContainsFunc(group, func(p *parcel) bool { return p.ambiguous() && p.due.After(time.Now()) })
}
