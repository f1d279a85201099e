package ship

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

const (
	// proveTogether is how long accepted chunks wait for others, so that one
	// question settles several: a question costs more bytes than some uploads.
	proveTogether = 2 * time.Minute

	// latencyOffset is how far back from now VictoriaMetrics may hide samples
	// from a query (-search.latencyOffset, 30 s); an export hides none.
	latencyOffset = 35 * time.Second

	// unprovenAfter is how many refused read-backs, with uploads going well
	// meanwhile, make the server one that lets us write but not read.
	unprovenAfter = 3
	// unprovenFor is how long that is believed before reading is tried again.
	unprovenFor = 10 * time.Minute
)

// proving reports whether delivery is proven by reading back. Where it cannot
// be, delivery is at least once, and health says so.
func (s *Shipper) proving() bool { return s.cfg.Verify.Enabled && !s.unproven }

// prove settles what can be settled now: chunks whose attempt ended without an
// answer, and accepted chunks that are old enough to be read back.
func (s *Shipper) prove(ctx context.Context) error {
	now := time.Now()
	if s.unproven && now.After(s.readAfter) {
		s.unproven, s.readFails = false, 0
	}
	if !s.proving() {
		return s.assume(ctx, now)
	}
	if now.Before(s.readAfter) {
		return nil
	}
	for _, p := range s.book.due(store.Sending, now) {
		if p.unsent {
			continue
		}
		if ok, err := s.ask(ctx, p); err != nil || !ok {
			return err
		}
	}
	due := s.book.due(store.Accepted, now)
	if !s.worthAsking(due, now) {
		return nil
	}
	if counted, err := s.countTogether(ctx, due); err != nil || counted {
		return err
	}
	for _, p := range due {
		if ok, err := s.ask(ctx, p); err != nil || !ok {
			return err
		}
	}
	return nil
}

// worthAsking groups questions: now, or when more chunks have come due.
func (s *Shipper) worthAsking(due []*parcel, now time.Time) bool {
	if len(due) == 0 {
		return false
	}
	oldest := due[0].due
	for _, p := range due {
		oldest = earliest(oldest, p.due)
	}
	return s.draining || len(due) >= 16 || now.Sub(oldest) >= min(proveTogether, 4*s.cfg.UploadInterval)
}

// assume is prove for a server that cannot be read: what was accepted counts as
// verified, and what may have been stored is sent again.
func (s *Shipper) assume(ctx context.Context, now time.Time) error {
	for _, p := range s.book.due(store.Sending, now) {
		p.unsent = true // sent again, at least once: the price of not being allowed to ask
	}
	for _, p := range s.book.due(store.Accepted, now) {
		if err := s.verified(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shipper) verified(ctx context.Context, chunks ...*parcel) error {
	for _, p := range chunks {
		if err := s.Outbox.MarkVerified(ctx, p.Chunk); err != nil {
			return err
		}
		s.book.close(p)
		s.Stats.verify(len(p.Keys), s.Now())
	}
	s.Crash("verified")
	return nil
}

// countTogether asks for one number: how many samples the server has in the
// span of the given chunks. If it is the number of uploaded rows in the file,
// all of them are there.
func (s *Shipper) countTogether(ctx context.Context, due []*parcel) (settled bool, err error) {
	first, last := due[0].Keys[0], due[0].Keys[0]
	for _, p := range due {
		first, last = min(first, p.Keys[0]), max(last, p.Keys[len(p.Keys)-1])
	}
	if !s.countable(first, last) {
		return false, nil
	}
	want, devices, err := s.Outbox.CountUploaded(ctx, first.TimestampMS(), last.TimestampMS())
	if err != nil {
		return false, err
	}
	var have int64
	for _, device := range devices {
		n, err := s.Server.Count(ctx, victoria.Selector{DeviceID: device}, first.TimestampMS(), last.TimestampMS())
		if errors.Is(err, victoria.ErrNotSupported) {
			return false, nil // a receiver, say: the export settles it
		}
		if err != nil {
			s.readFailed(ctx, err)
			return true, nil // nothing is settled, but there is no use in asking on
		}
		have += n
	}
	s.readWorks()
	if have != want {
		s.Log.Debug("counts differ, comparing samples", "server", have, "file", want, "chunks", len(due))
		return false, nil
	}
	return true, s.verified(ctx, due...)
}

// countable reports whether a count over the span can be compared with the
// file: nothing in it may be hidden from queries, sent under another timestamp,
// or of unknown fate.
func (s *Shipper) countable(first, last store.Key) bool {
	now := s.Now()
	if last.TimestampMS() > now.Add(-latencyOffset).UnixMilli() || first.TimestampMS() <= 0 {
		return false
	}
	for _, p := range s.book.open {
		overlaps := p.Keys[0] <= last && first <= p.Keys[len(p.Keys)-1]
		if overlaps && (p.State != store.Accepted || s.clamps(p)) {
			return false
		}
	}
	return true
}

// clamps reports whether timestamps of the chunk may have been moved.
func (s *Shipper) clamps(p *parcel) bool {
	first, last := p.Keys[0].TimestampMS(), p.Keys[len(p.Keys)-1].TimestampMS()
	return s.cfg.MaxPast > 0 && first < p.Created.Add(-s.cfg.MaxPast).UnixMilli() ||
		s.cfg.MaxFuture > 0 && last > p.Created.Add(s.cfg.MaxFuture).UnixMilli()
}

// ask reads the samples of one chunk back and settles it. ok = the server
// answers questions.
func (s *Shipper) ask(ctx context.Context, p *parcel) (ok bool, err error) {
	s.Beat()
	body, err := s.rebuild(ctx, p)
	if err != nil || body == nil {
		return err == nil, err
	}
	want, err := s.wanted(ctx, body)
	if err != nil {
		return false, err
	}
	if err := want.readBack(ctx, s.Server); err != nil {
		s.readFailed(ctx, err)
		return false, nil
	}
	s.readWorks()
	missing := want.missing()
	if len(missing) == 0 {
		return true, s.verified(ctx, p)
	}
	wasAccepted := p.State == store.Accepted
	if wasAccepted && p.Attempted.After(s.lastAway) {
		// Answered 2xx by a server that never went away since, and thrown away.
		p.Resends++
	}
	if !p.refused {
		p.HTTPStatus = 0 // see store.Requeued: a status there means halving
	}
	total := len(p.Keys)
	if err := s.Outbox.Requeue(ctx, p.Chunk, missing); err != nil {
		return false, err
	}
	s.Crash("requeued")
	s.Stats.requeue(len(missing))
	p.due = time.Now()
	if wasAccepted {
		s.Log.Warn("server does not have all it accepted; the missing samples are sent again",
			"missing", len(missing), "of", total, "resends", p.Resends)
		p.due = p.due.Add(resendDelay(p.Resends))
	}
	return true, nil
}

// resendDelay grows with the number of resends, from at once to ten minutes.
func resendDelay(resends int) time.Duration {
	if resends <= 1 {
		return 0
	}
	return min(10*time.Minute, 30*time.Second<<min(resends-2, 10))
}

// readFailed gives the reading side a pause that grows. A server that refuses
// to be read while it goes on accepting is believed after a few refusals.
func (s *Shipper) readFailed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	fault := asError(err)
	s.readFails++
	s.readAfter = time.Now().Add(backoff(s.cfg.Retry, s.readFails, s.Rand))
	s.readTrouble.Fail(s.Log, slog.LevelWarn, "cannot read back what was sent", err)
	if fault.Class != victoria.ClassAuth && fault.Class != victoria.ClassRedirect {
		s.readRefused = 0
		return
	}
	if s.readRefused++; s.readRefused >= unprovenAfter && s.acceptedSinceRefusal {
		s.unproven, s.readAfter = true, time.Now().Add(unprovenFor)
		s.Log.Warn("the server can be written but not read: delivery is at least once and unproven; give the credentials read access or set remote.verify.url",
			"err", err)
	}
}

func (s *Shipper) readWorks() {
	if s.readFails > 0 {
		s.readTrouble.Recover(s.Log, "reading back works again")
	}
	s.readFails, s.readRefused, s.acceptedSinceRefusal = 0, 0, false
}
