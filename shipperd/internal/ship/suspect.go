package ship

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// A chunk becomes a suspect when the server answers with an error that speaks
// against its content, when connections keep breaking with it, or when it keeps
// getting 5xx from a server that takes others: a proxy turns a broken backend into a
// 502. It is halved
// until the sample is alone that the server minds. But a proxy in front may
// answer 400 to everything, and then nothing is wrong with any sample. So a
// sample is condemned only if it was refused alone, several times, a while apart,
// by a server that is well: it has accepted something else since it first refused
// this. While everything is refused, hardly anything is halved either.

const (
	// sickAfter is how many refusals without evidence speak against the server
	// rather than the samples. A chunk with one bad sample gets two: its own and
	// that of the half with the sample.
	sickAfter = 5
	// sickest bounds the pause between two probes of a server that refuses
	// everything.
	sickest = 10 * time.Minute
	// strikesNeeded is how often a single sample must be refused by a server that is
	// well.
	strikesNeeded = 3
	// breaksNeeded is how many broken connections in a row make a chunk suspect.
	breaksNeeded = 3
	// doubtsNeeded is the same for 5xx of a server that is well.
	doubtsNeeded = 3
	// failedMost is how many chunks with a 5xx may wait while others are tried before
	// them, to see whether the server or the chunk is at fault.
	failedMost = 2
)

func (s *sending) sick() bool { return s.refusals >= sickAfter }

// suspect: owed, and something speaks against it.
func (p *parcel) suspect() bool {
	return p.owed() && (p.refused || p.breaks >= breaksNeeded || p.doubts >= doubtsNeeded)
}

// doubtful: owed, and the last answer to it was a 5xx.
func (p *parcel) doubtful() bool { return p.owed() && p.failed && !p.suspect() }

// clean: owed, and nothing speaks against it.
func (p *parcel) clean() bool { return p.owed() && !p.suspect() && !p.doubtful() }

// doubt notes a 5xx. It speaks against the chunk if the server has taken another
// one since the first.
func (s *Shipper) doubt(p *parcel) {
	p.failed = true
	now := time.Now()
	switch {
	case p.accused.IsZero():
		p.accused = now
	case !s.sending.lastAccepted.After(p.accused):
	case p.n == 1:
		p.doubts++
		p.strikes++
	default:
		p.doubts++
	}
	p.struck = now
}

// doubtsFirst decides whether chunks that were answered 5xx go before pending rows.
// A few of them wait until others were tried; but while everything fails, each
// batch that is tried becomes one more of them.
func (s *Shipper) doubtsFirst() bool {
	n := 0
	for _, p := range s.book.open {
		if p.failed && p.State != store.Accepted {
			n++
		}
	}
	return n > failedMost && s.sending.failures%(2*n) != 0
}

// refused notes an answer against the body; ok as for transmit.
func (s *Shipper) refused(p *parcel, fault *victoria.Error, log *slog.Logger) (ok bool) {
	now := time.Now()
	if fault.Class == victoria.ClassTooLarge && p.n > 1 {
		s.size.tooLarge(p.n, now)
		log.Warn("server takes no request of this size; smaller ones follow", logx.Err(fault), "rows_at_most", s.size.limit)
		return true
	}
	if p.accused.IsZero() {
		p.accused = now
	}
	p.struck = now
	switch evidence := s.sending.lastAccepted.After(p.accused); {
	case !evidence:
		s.sending.refusals++
	case p.n == 1 && s.sending.refusals == 0:
		p.strikes++
	}
	if !s.sending.sick() {
		s.notice(log, noticeRefused, "", fault, 0, "rows", p.n)
		return true
	}
	s.pause(min(sickest, s.patience()<<min(s.sending.refusals-sickAfter, 4)))
	s.stalled(log, fmt.Errorf("the server, or a proxy in front of it, refuses everything: %w", fault))
	return false
}

// broke notes a request that broke off.
func (s *Shipper) broke(p *parcel) {
	p.breaks++
	before := s.size.limit
	if s.size.broke(p.n, time.Now()); s.size.limit != before {
		s.Log.Info("requests break off; smaller ones follow", "rows_at_most", s.size.limit)
	}
}

// sendAgain ships the owed chunks of a kind. ok = the server takes requests.
func (s *Shipper) sendAgain(ctx context.Context, kind func(*parcel) bool) (ok bool, err error) {
	due := s.book.due(time.Now(), kind)
	// Those that were tried longest ago come first, so that each has its turn.
	slices.SortStableFunc(due, func(a, b *parcel) int { return a.tried.Compare(b.tried) })
	for _, p := range due {
		if p.State == store.Sending {
			ok, err = s.sendUnsent(ctx, p)
		} else {
			ok, err = s.resend(ctx, p)
		}
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// sendUnsent ships a chunk of which the server certainly has nothing.
func (s *Shipper) sendUnsent(ctx context.Context, p *parcel) (ok bool, err error) {
	switch {
	case s.tooLarge(p), !p.refused && p.Resends == 0 && time.Since(p.born) > unsentLimit:
		return true, s.withdraw(ctx, p)
	case p.suspect():
		if err := s.Outbox.Requeue(ctx, p.Chunk, p.Keys); err != nil {
			return false, err
		}
		return s.resend(ctx, p)
	}
	body, err := s.rebuild(ctx, p)
	if err != nil || body == nil {
		return err == nil, err
	}
	return s.transmit(ctx, p, body)
}

// tooLarge: its rows have to go out in smaller chunks.
func (s *Shipper) tooLarge(p *parcel) bool { return !s.size.fits(p.n) }

// resend ships a chunk whose rows were found missing.
func (s *Shipper) resend(ctx context.Context, p *parcel) (ok bool, err error) {
	switch {
	case p.Resends > s.cfg.Verify.MaxResends:
		return true, s.giveUp(ctx, p, "not_stored",
			fmt.Sprintf("answered as accepted %d times and never found there", p.Resends))
	case p.n == 1 && (p.refused || p.doubts >= doubtsNeeded):
		return s.tryAlone(ctx, p)
	case p.suspect() && p.n > 1:
		return s.halve(ctx, p)
	case s.tooLarge(p) && p.Resends == 0:
		return true, s.withdraw(ctx, p)
	}
	return s.resendWhole(ctx, p)
}

// resendWhole ships the rows of a requeued chunk as a new body.
func (s *Shipper) resendWhole(ctx context.Context, p *parcel) (ok bool, err error) {
	created, ok := s.created(ctx, p.first, p.last)
	if !ok {
		return false, nil
	}
	p.Created = created
	body, err := s.rebuild(ctx, p)
	if err != nil || body == nil {
		return err == nil, err
	}
	p.Bytes, p.Hash = len(body.Gzip), body.Hash
	if err := s.Outbox.RecordSending(ctx, p.Chunk); err != nil {
		return false, err
	}
	p.born = time.Now()
	s.clamped(p, body)
	return s.transmit(ctx, p, body)
}

// tryAlone decides about a single sample that the server refused.
func (s *Shipper) tryAlone(ctx context.Context, p *parcel) (ok bool, err error) {
	if p.strikes >= strikesNeeded {
		return true, s.giveUp(ctx, p, "rejected", verdict(p))
	}
	if next := p.struck.Add(s.patience()); time.Now().Before(next) {
		p.due = next
		return true, nil
	}
	return s.resendWhole(ctx, p)
}

// halve ships the two halves of a suspect. Crash window: between the two
// transactions the rows are plain pending rows, and the search begins anew.
func (s *Shipper) halve(ctx context.Context, p *parcel) (ok bool, err error) {
	rows, err := s.Outbox.Rows(ctx, p.Keys)
	if err != nil {
		return false, err
	}
	created, ok := s.created(ctx, p.first, p.last)
	if !ok {
		return false, nil
	}
	if err := s.withdraw(ctx, p); err != nil {
		return false, err
	}
	a, b, halved := chunk.Halve(rows)
	if !halved {
		return true, nil // the rest is no longer in the file
	}
	var bodies []*chunk.Body
	for _, half := range [][]store.Row{a, b} {
		body, err := s.Builder.Rebuild(half, s.series(ctx), created)
		if err != nil {
			return false, err
		}
		bodies = append(bodies, body)
	}
	parcels, err := s.record(ctx, bodies, created)
	if err != nil {
		return false, err
	}
	for _, half := range parcels {
		half.accused, half.breaks, half.doubts = p.accused, max(0, p.breaks-1), max(0, p.doubts-1)
	}
	for i, half := range parcels {
		if ok, err := s.transmit(ctx, half, bodies[i]); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}
