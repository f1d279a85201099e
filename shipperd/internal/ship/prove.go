package ship

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"belabox-metrics/shared/store"
)

const (
	// Accepted chunks wait for each other, so that one question settles several: a
	// question costs more bytes than some uploads. As long as togetherUploads
	// uploads take, at most togetherMost.
	togetherUploads = 10
	togetherMost    = 5 * time.Minute
	// togetherDrain is the same while somebody waits for the end.
	togetherDrain = 2 * time.Second
	// togetherRows are enough for a question, whenever they were sent.
	togetherRows = 1_000_000
)

// proving reports whether delivery is proven by reading back. Where it cannot
// be, delivery is at least once, and health says so.
func (s *Shipper) proving() bool { return s.cfg.Verify.Enabled && !s.reading.unproven }

// prove settles what can be settled now: chunks whose attempt ended without an
// answer, and accepted chunks that are old enough to be read back.
func (s *Shipper) prove(ctx context.Context) error {
	now := time.Now()
	if s.cfg.Verify.Enabled {
		s.hope(now)
	}
	if !s.proving() {
		return s.assume(ctx, now)
	}
	if now.Before(s.reading.notBefore) {
		return nil
	}
	for _, p := range s.book.due(now, (*parcel).ambiguous) {
		if ok, err := s.settle(ctx, p); err != nil || !ok {
			return err
		}
	}
	due := s.book.due(now, func(p *parcel) bool { return p.State == store.Accepted })
	if !s.worthAsking(due, now) {
		return nil
	}
	_, err := s.settle(ctx, due...)
	return err
}

// together is how long accepted chunks that have come due wait for others.
func (s *Shipper) together() time.Duration {
	if s.drain != nil {
		return togetherDrain
	}
	return min(togetherMost, togetherUploads*s.cfg.UploadInterval)
}

func (s *Shipper) worthAsking(due []*parcel, now time.Time) bool {
	rows := 0
	oldest := now
	for _, p := range due {
		rows += p.n
		oldest = earliest(oldest, p.due)
	}
	return len(due) > 0 && (rows >= togetherRows || now.Sub(oldest) >= s.together())
}

// settle finds out what became of chunks: all of them together where one count
// shows that everything is there, else half by half, else sample by sample. ok =
// the server answers questions.
func (s *Shipper) settle(ctx context.Context, group ...*parcel) (ok bool, err error) {
	s.Beat()
	there, ok, err := s.allThere(ctx, group)
	if err != nil || !ok {
		return false, err
	}
	if early(group) {
		return true, nil
	}
	if there {
		return true, s.verified(ctx, group...)
	}
	if len(group) == 1 {
		return s.ask(ctx, group[0])
	}
	half := len(group) / 2
	if ok, err := s.settle(ctx, group[:half]...); err != nil || !ok {
		return false, err
	}
	return s.settle(ctx, group[half:]...)
}

// verified notes that everything of the chunks was read back.
func (s *Shipper) verified(ctx context.Context, parcels ...*parcel) error {
	chunks := make([]*store.Chunk, len(parcels))
	lost := 0 // replies
	all := 0
	for i, p := range parcels {
		chunks[i] = p.Chunk
		all += p.n
		if p.State != store.Accepted {
			lost += p.n
		}
	}
	if err := s.Outbox.MarkVerified(ctx, chunks...); err != nil {
		return err
	}
	s.book.close(parcels...)
	now := s.Now()
	if lost > 0 {
		s.Stats.accept(lost, now)
	}
	s.Stats.verify(all, now)
	s.Crash("verified")
	return nil
}

// ask reads the samples of one chunk back and settles it. ok = the server
// answers questions.
func (s *Shipper) ask(ctx context.Context, p *parcel) (ok bool, err error) {
	w, err := s.wanted(ctx, p)
	if err != nil || w == nil {
		return err == nil, err
	}
	if err := w.readBack(ctx, s.Server, s.Beat); err != nil {
		s.readFailed(ctx, err)
		p.due = s.reading.notBefore.Add(time.Second) // others first, next time
		return false, nil
	}
	s.readWorks()
	s.reading.partly = nil
	if early([]*parcel{p}) {
		return true, nil
	}
	missing := w.missing()
	if len(missing) > 0 && p.State == store.Accepted {
		thinned, ok, err := s.thinned(ctx, p, w)
		if err != nil || !ok {
			return false, err
		}
		missing = missing.Without(thinned)
		s.Stats.thinned(len(thinned))
	}
	if len(missing) == 0 {
		return true, s.verified(ctx, p)
	}
	return true, s.requeue(ctx, p, missing)
}

// requeue makes the missing rows of a chunk owed again; the others are proven.
func (s *Shipper) requeue(ctx context.Context, p *parcel, missing store.KeySet) error {
	accepted, found := p.State == store.Accepted, p.n-len(missing)
	if accepted {
		p.owing++
		if !s.mayHaveForgotten(p) && p.undecided == 0 {
			p.Resends++ // answered 2xx by a server that was well, and thrown away
		}
	}
	if !p.refused {
		p.HTTPStatus = 0 // see store.Requeued: a status there means halving
	}
	if err := s.Outbox.Requeue(ctx, p.Chunk, missing); err != nil {
		return err
	}
	p.measure()
	s.Crash("requeued")
	now := s.Now()
	s.Stats.requeue(len(missing))
	s.Stats.verify(found, now)
	if !accepted {
		s.Stats.accept(found, now)
		p.due = time.Now().Add(resendDelay(p.breaks))
		return nil
	}
	p.due = time.Now().Add(max(resendDelay(p.owing), p.undecided))
	if p.Resends > 0 {
		s.Stats.unkept(time.UnixMilli(missing[0].TimestampMS()), now)
	}
	s.reading.forgottenRows += len(missing)
	s.reading.forgotten.FailN(s.Log, slog.LevelWarn, "server does not have all it accepted; the missing samples are sent again", nil, len(missing),
		"found", found, "resends", p.Resends, "server_was_away", p.Resends < p.owing, "missing_since_start", s.reading.forgottenRows)
	return nil
}

// nothingMissing ends the line about samples that the server did not have, when none of
// them is owed any more.
func (s *Shipper) nothingMissing() {
	if !slices.ContainsFunc(s.book.open, func(p *parcel) bool { return p.owing > 0 || p.State == store.Requeued }) {
		s.reading.forgotten.Recover(s.Log, "what the server did not have is there now, or a dead letter",
			"missing_since_start", s.reading.forgottenRows)
		s.Stats.unkept(time.Time{}, time.Time{})
	}
}

// resendMost bounds the pause before a resend.
const resendMost = 10 * time.Minute

// resendDelay grows with the number of times, from at once to resendMost.
func resendDelay(times int) time.Duration {
	if times <= 1 {
		return 0
	}
	return min(resendMost, 30*time.Second<<min(times-2, 10))
}

// forgets is how long after its 2xx a killed VictoriaMetrics may forget a sample:
// it has been seen to take 10 to 12 s to bring them to its disk.
const forgets = 20 * time.Second

// mayHaveForgotten reports whether the server may have lost, by being killed, what
// it accepted with the last attempt.
func (s *Shipper) mayHaveForgotten(p *parcel) bool {
	return p.tried.IsZero() || // by an earlier run, who knows
		s.sending.lastAway.After(p.tried) || s.Server.HungUp(p.tried, p.tried.Add(forgets))
}
