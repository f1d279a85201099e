package ship

import (
	"context"
	"log/slog"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

const (
	// unprovenAfter is how many refused questions, with uploads going well between
	// each two, make the server one that lets us write but not read.
	unprovenAfter = 3
	// unprovenFor is how long that is believed before reading is tried again.
	unprovenFor = 10 * time.Minute
)

// reading is what is known of the server as a giver of answers.
type reading struct {
	notBefore   time.Time // not to be asked before
	fails       int       // failed questions in a row
	refused     int       // questions answered with 401, 403, 404 or a redirect, an accepted upload before each
	lastRefused time.Time
	unproven    bool // the server lets us write but not read
	told        bool // and the log knows

	uncountable time.Time // it does not count; until then
	thinning    time.Time // it thins the data, see thin.go; until then; zero = it does not
	interval    int64     // by keeping one sample of so many milliseconds
	thinFails   int       // questions about that which failed, in a row
	thinAgain   time.Time // it is not asked about it before
	blurred     interval  // where the server may have samples that the file has elsewhere, or once
	partly      *wanted   // a list of which a part was read
	log         *logx.Throttle

	forgotten     *logx.Throttle // samples that were answered 2xx and are not there
	forgottenRows int            // how many, since the start
}

// assume is prove for a server that cannot be read: what was accepted counts as
// verified, and what may have been stored is sent again.
func (s *Shipper) assume(ctx context.Context, now time.Time) error {
	for _, p := range s.book.due(now, (*parcel).ambiguous) {
		p.unsent = true // at least once: the price of not being allowed to ask
		s.reading.blurred.add(p.first.TimestampMS(), p.last.TimestampMS())
	}
	if due := s.book.due(now, func(p *parcel) bool { return p.State == store.Accepted }); len(due) > 0 {
		return s.verified(ctx, due...)
	}
	return nil
}

// readFailed gives the reading side a pause that grows. A server that refuses
// to be read while it goes on accepting is believed after a few refusals; one that
// refuses everything has other reasons, such as a token that was revoked.
func (s *Shipper) readFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	r, now := &s.reading, time.Now()
	r.fails++
	r.notBefore = now.Add(backoff(s.cfg.Retry, r.fails, s.Rand))
	r.log.Fail(s.Log, slog.LevelWarn, "cannot read back what was sent", err)
	s.Stats.reading(err, s.Now())
	s.fault(err)
	switch asError(err).Class {
	case victoria.ClassAuth, victoria.ClassRedirect:
	case victoria.ClassNetwork, victoria.ClassTimeout, victoria.ClassServer:
		s.sending.lastAway = now
		fallthrough
	default:
		r.refused = 0
		return
	}
	if r.refused == 0 || s.sending.lastAccepted.After(r.lastRefused) {
		r.refused++
		r.lastRefused = now
	}
	if r.refused < unprovenAfter {
		return
	}
	r.unproven, r.notBefore = true, now.Add(unprovenFor)
	s.Stats.unproven(true)
	if !r.told {
		r.told = true
		s.Log.Warn("the server can be written but not read: delivery is at least once and unproven; give the credentials read access or set remote.verify.url",
			logx.Err(err))
	}
}

// hope ends, after a while, what was concluded of a server.
func (s *Shipper) hope(now time.Time) {
	r := &s.reading
	if r.unproven && !now.Before(r.notBefore) {
		r.unproven, r.fails = false, 0 // one refusal more, and it is back
	}
	if !r.thinning.IsZero() && !now.Before(r.thinning) {
		s.notThinning()
	}
}

// readWorks notes an answer.
func (s *Shipper) readWorks() {
	s.hear()
	r := &s.reading
	if r.fails > 0 || r.told {
		r.log.Recover(s.Log, "reading back works again")
		s.Stats.unproven(false)
	}
	s.Stats.reading(nil, time.Time{})
	r.fails, r.refused, r.lastRefused, r.told = 0, 0, time.Time{}, false
}
