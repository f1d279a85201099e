package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// A chunk becomes a suspect when the server answers with an error that concerns its content, when
// connections break repeatedly with it, or when a server that accepts others answers 5xx to it
// repeatedly: a proxy turns a broken backend into a 502. It is halved until the refused sample is
// alone. But a proxy in front may answer 400 to everything, and then no sample is bad. A sample
// therefore becomes a dead letter only if it was refused alone, several times, some time apart,
// by a server that accepts others, that is, has accepted something else since it first refused
// this sample. While everything is refused, hardly anything is halved.

const (
	// sickAfter is how many refusals in a row, with nothing accepted between them, mean
	// that the server is at fault and not the samples. A chunk with one bad sample gets
	// two: its own and that of the half with the sample.
	sickAfter = 5
	// sickest bounds the pause between two probes of a server that refuses
	// everything.
	sickest = 10 * time.Minute
	// strikesNeeded is how often a server that accepts others must refuse a single
	// sample.
	strikesNeeded = 3
	// breaksNeeded is how many broken connections in a row make a chunk suspect.
	breaksNeeded = 3
	// doubtsNeeded is the same for 5xx of a server that accepts others.
	doubtsNeeded = 3
	// failedMost is how many chunks with a 5xx may wait while others are tried before
	// them, which shows whether the server or the chunk is at fault.
	failedMost = 2
)

func (s *sender) sick() bool { return s.refusals >= sickAfter }

// suspect: its content may be at fault.
func (c *inflight) suspect() bool {
	return c.toSend() && (c.suspicion.refused || c.suspicion.breaks >= breaksNeeded || c.suspicion.fails >= doubtsNeeded)
}

// doubted: the last answer to it was a 5xx.
func (c *inflight) doubted() bool { return c.toSend() && c.suspicion.failed && !c.suspect() }

// clean: neither of the two.
func (c *inflight) clean() bool { return c.toSend() && !c.suspect() && !c.doubted() }

// doubt notes a 5xx. It counts against the chunk if the server has accepted another
// one since the first 5xx.
func (s *Shipper) doubt(c *inflight) {
	b, now := &c.suspicion, time.Now()
	b.failed = true
	switch {
	case b.since.IsZero():
		b.since = now
	case !s.sending.lastAccepted.After(b.since):
	default:
		b.fails++
		if c.n == 1 {
			b.strikes++
		}
	}
	b.last = now
}

// doubtedFirst decides whether chunks that were answered 5xx are sent before pending rows. A few
// of them wait until others were tried; but while everything fails, each batch that is tried
// becomes one more of them.
func (s *Shipper) doubtedFirst() bool {
	n := 0
	for _, c := range s.chunks.all {
		if c.suspicion.failed && !c.uploaded() {
			n++
		}
	}
	return n > failedMost && s.sending.failures%(2*n) != 0
}

// refused notes a 4xx to the body of a request; ok as for transmit.
func (s *Shipper) refused(chunks []*inflight, fault *victoria.Error, log *slog.Logger) (ok bool) {
	now, n := time.Now(), rowsOf(chunks)
	if fault.Class == victoria.ClassTooLarge && n > 1 {
		s.size.tooLarge(n, now)
		log.Warn("request too large for the server, smaller ones follow", logx.Err(fault), "rows_at_most", s.size.limit)
		return true
	}
	for _, c := range chunks {
		if c.suspicion.since.IsZero() {
			c.suspicion.since = now
		}
		c.suspicion.last = now
	}
	b := &chunks[0].suspicion // chunks share their first request only, so this is the same for all
	switch takesOthers := s.sending.lastAccepted.After(b.since); {
	case !takesOthers:
		s.sending.refusals++
		s.sending.refusedRows = n
	case n == 1 && s.sending.refusals == 0:
		b.strikes++
	}
	if !s.sending.sick() {
		s.notice(log, noticeRefused, "", fault, 0, "rows", n)
		return true
	}
	s.pause(min(sickest, s.longPause()<<min(s.sending.refusals-sickAfter, 4)))
	s.stalled(log, fmt.Errorf("the server, or a proxy in front of it, refuses everything: %w", fault))
	return false
}

// broke notes a request that broke off.
func (s *Shipper) broke(chunks []*inflight) {
	for _, c := range chunks {
		c.suspicion.breaks++
	}
	before := s.size.limit
	if s.size.broke(rowsOf(chunks), time.Now()); s.size.limit != before {
		s.Log.Info("requests break off, smaller ones follow", "rows_at_most", s.size.limit)
	}
}

func rowsOf(chunks []*inflight) (n int) {
	for _, c := range chunks {
		n += c.n
	}
	return n
}

// sendAgain sends the chunks of a kind that are to be sent again. ok = the server takes requests.
func (s *Shipper) sendAgain(ctx context.Context, kind func(*inflight) bool) (ok bool, err error) {
	due := s.chunks.due(time.Now(), kind)
	// Those that were tried longest ago come first.
	slices.SortStableFunc(due, func(a, b *inflight) int { return a.tried.Compare(b.tried) })
	for _, c := range due {
		if s.presentWaits() {
			break
		}
		if c.state == recorded {
			ok, err = s.sendRecorded(ctx, c)
		} else {
			ok, err = s.resend(ctx, c)
		}
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// sendRecorded sends a chunk of which the server certainly has nothing, as it was recorded. If
// timestamps had to be clamped, or after a while, its rows become new chunks: clamped by the
// current time, and larger.
func (s *Shipper) sendRecorded(ctx context.Context, c *inflight) (ok bool, err error) {
	switch {
	case s.tooLarge(c), !c.suspicion.refused && c.Resends == 0 && (time.Since(c.born) > unsentLimit || s.clamps(c)):
		return true, s.withdraw(ctx, c, evDivided)
	case c.suspect():
		if err := s.Outbox.Requeue(ctx, c.Chunk, c.Keys); err != nil {
			return false, err
		}
		s.move(c, evSuspected, owed)
		return s.resend(ctx, c)
	}
	req, err := s.rebuild(ctx, c)
	if err != nil || req == nil {
		return err == nil, err
	}
	return s.transmit(ctx, req, c)
}

// tooLarge: its rows have to be sent in smaller chunks.
func (s *Shipper) tooLarge(c *inflight) bool { return !s.size.fits(c.n) }

// resend sends a chunk whose rows were found to be lost.
func (s *Shipper) resend(ctx context.Context, c *inflight) (ok bool, err error) {
	switch {
	case c.Resends > s.cfg.Verify.MaxResends:
		return true, s.giveUp(ctx, c, evRefused, "not_stored",
			fmt.Sprintf("answered as accepted %d times and never found there", c.Resends))
	case c.n == 1 && (c.suspicion.refused || c.suspicion.fails >= doubtsNeeded):
		return s.tryAlone(ctx, c)
	case c.suspect() && c.n > 1 && !c.shared: // else it goes alone first
		return s.halve(ctx, c)
	case s.tooLarge(c) && c.Resends == 0:
		return true, s.withdraw(ctx, c, evDivided)
	}
	return s.resendWhole(ctx, c)
}

// resendWhole sends the rows of an owed chunk as a new body.
func (s *Shipper) resendWhole(ctx context.Context, c *inflight) (ok bool, err error) {
	t, err := s.Outbox.Timeline(ctx)
	if err != nil {
		return false, err
	}
	created, ok := s.created(ctx, t, c.from(), c.to())
	if !ok {
		return false, nil
	}
	c.Created = created
	req, err := s.rebuild(ctx, c)
	if err != nil || req == nil {
		return err == nil, err
	}
	body := req.Bodies[0]
	c.Bytes, c.Hash = body.Bytes, body.Hash
	if err := s.Outbox.RecordSending(ctx, c.Chunk); err != nil {
		return false, err
	}
	c.born = time.Now()
	s.clamped(c, body)
	return s.transmit(ctx, req, c)
}

// tryAlone decides about a single sample that the server refused.
func (s *Shipper) tryAlone(ctx context.Context, c *inflight) (ok bool, err error) {
	if c.suspicion.strikes >= strikesNeeded {
		return true, s.giveUp(ctx, c, evRefused, "rejected", verdict(c))
	}
	if next := c.suspicion.last.Add(s.longPause()); time.Now().Before(next) {
		c.due = next
		return true, nil
	}
	return s.resendWhole(ctx, c)
}

// halve sends the two halves of a suspect. Crash window: between the two transactions the rows
// are plain pending rows, and the search starts again.
func (s *Shipper) halve(ctx context.Context, c *inflight) (ok bool, err error) {
	rows, err := s.Outbox.Rows(ctx, c.Keys)
	if err != nil {
		return false, err
	}
	t, err := s.Outbox.Timeline(ctx)
	if err != nil {
		return false, err
	}
	created, ok := s.created(ctx, t, c.from(), c.to())
	if !ok {
		return false, nil
	}
	if err := s.withdraw(ctx, c, evDivided); err != nil {
		return false, err
	}
	a, b, halved := chunk.Halve(rows)
	if !halved {
		return true, nil // the rest is no longer in the file
	}
	var requests []*chunk.Request
	for _, half := range [][]store.Row{a, b} {
		req, err := s.Builder.Rebuild(half, s.series(ctx), created, c.offset)
		if unfit, ok := errors.AsType[*chunk.UnfitError](err); ok {
			return true, s.setAside(ctx, unfit.Refused, nil) // they are plain pending rows now
		}
		if err != nil {
			return false, err
		}
		requests = append(requests, req)
	}
	halves, err := s.record(ctx, requests, created, t)
	if err != nil {
		return false, err
	}
	for _, half := range halves {
		half[0].suspicion = suspicion{since: c.suspicion.since, breaks: max(0, c.suspicion.breaks-1), fails: max(0, c.suspicion.fails-1)}
	}
	for i, half := range halves {
		if ok, err := s.transmit(ctx, requests[i], half...); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}
