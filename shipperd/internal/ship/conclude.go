package ship

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// conclude decides what follows from an answer that shows some rows of a chunk and lacks the
// others. No other function draws conclusions from absent samples.
func (s *Shipper) conclude(ctx context.Context, c *inflight, shown store.KeySet) error {
	if err := c.unpack(); err != nil {
		return err
	}
	s.order.show(shown, c.attempt)
	if s.young(c, len(shown)) {
		return nil
	}
	lacks := c.Keys.Without(shown)
	if len(shown) > 0 {
		if err := s.noteProof(ctx, c, shown); err != nil {
			return err
		}
	}
	refused := c.refused()
	if refused || c.state == missing {
		shows, ok := s.showsProven(ctx)
		if !ok || c.state == missing && !shows {
			c.due = time.Now().Add(s.cfg.Verify.Settle)
			return nil
		}
		refused = refused && shows
	}
	if c.state == missing { // the second answer that lacks them: each of its rows has a witness
		return s.requeue(ctx, c, evLost, lacks)
	}
	if len(shown) > 0 {
		if err := s.narrow(ctx, c, lacks); err != nil {
			return err
		}
	}
	now := time.Now()
	c.seen = s.order.newest
	if c.absent.IsZero() {
		c.absent = now
	}
	if !s.order.visible(c.attempt) {
		c.silent = time.Time{} // nothing shows at all: time proves nothing
	} else if c.silent.IsZero() {
		c.silent = now
	}
	a := s.order.judge(c, lacks, refused)
	if len(a.witnessed) > 0 {
		return s.absentWithWitness(ctx, c, a)
	}
	if !c.silent.IsZero() && now.Sub(c.silent) >= unseenMost && s.drain == nil {
		return s.expired(ctx, c, a)
	}
	c.due = now.Add(s.cfg.Verify.Settle)
	c.pack()
	s.move(c, evUnwitnessed, unseen)
	return nil
}

// proof is a series and a span of milliseconds in which the server has shown samples.
type proof struct {
	sel      victoria.Selector
	from, to int64
}

// noteProof remembers rows of a request of this run that the server has shown. Rows that an
// earlier run sent may be elsewhere, because the URLs may have changed.
func (s *Shipper) noteProof(ctx context.Context, c *inflight, shown store.KeySet) error {
	if c.attempt <= earlier || s.clamps(c) {
		return nil
	}
	info, err := s.Outbox.Series(ctx, shown[0].SeriesID())
	if err != nil {
		return err
	}
	s.reading.proof = &proof{
		victoria.Selector{DeviceID: info.Device, Names: []string{chunk.MetricName(info.Name)}},
		shown[0].TimestampMS() + c.offset, shown[len(shown)-1].TimestampMS() + c.offset,
	}
	return nil
}

// provenOnce reports whether the server has shown anything that this run has sent. Before that,
// reads may go to another tenant than writes.
func (s *Shipper) provenOnce() bool { return s.order.newest > earlier }

// showsProven reports whether the server still shows what was read back last. Only then do reads
// reach the tenant to which we write, and may an absence count. ok = the server can be read.
func (s *Shipper) showsProven(ctx context.Context) (shows, ok bool) {
	p := s.reading.proof
	if p == nil {
		return s.provenOnce(), true // moved timestamps only
	}
	err := s.Server.Export(ctx, p.sel, p.from, p.to, func(_ []store.Tag, timestamps []int64) error {
		shows = shows || len(timestamps) > 0
		return nil
	})
	if err != nil {
		s.readFailed(ctx, err)
		return false, false
	}
	return shows, true
}

// absentWithWitness waits for the second answer. Rows without a witness become a chunk of their
// own.
func (s *Shipper) absentWithWitness(ctx context.Context, c *inflight, a absent) error {
	if waiting := a.waiting(); len(waiting) > 0 {
		part, err := s.split(ctx, c, waiting)
		if err != nil {
			return err
		}
		part.due = time.Now().Add(s.cfg.Verify.Settle)
		s.move(part, evSplit, unseen)
	}
	c.due = time.Now().Add(s.cfg.Verify.Settle)
	s.move(c, evWitnessed, missing)
	return nil
}

// expired ends the wait for a witness while the server shows others that were sent with the chunk
// or later. A series that was sent since and is never shown is dropped by the server. Samples of
// a series that has ended are sent again, and so are samples that were never answered with 2xx.
func (s *Shipper) expired(ctx context.Context, c *inflight, a absent) error {
	if len(a.silent) == 0 || !c.uploaded() {
		return s.requeue(ctx, c, evExpired, c.Keys)
	}
	if len(a.ended) > 0 {
		part, err := s.split(ctx, c, a.ended)
		if err != nil {
			return err
		}
		part.due = time.Now().Add(s.cfg.Verify.Settle)
		s.move(part, evSplit, unseen) // its own turn comes next
	}
	return s.giveUp(ctx, c, evNever, "not_stored",
		"answered as accepted; in two hours nothing of its series has shown, while others of the same requests did")
}

// narrow leaves the absent rows in the chunk; the others are proven.
func (s *Shipper) narrow(ctx context.Context, c *inflight, lacks store.KeySet) error {
	found := c.n - len(lacks)
	if err := s.Outbox.Narrow(ctx, c.Chunk, lacks); err != nil {
		return err
	}
	c.measure()
	c.shown = 0
	s.noteHangup(c)
	s.Crash("narrowed")
	now := s.Now()
	if !c.uploaded() {
		s.Stats.accept(found, c.how, now)
	}
	s.Stats.verify(found)
	return nil
}

// split moves rows of a chunk into a chunk of their own.
func (s *Shipper) split(ctx context.Context, c *inflight, keys store.KeySet) (*inflight, error) {
	part, err := s.Outbox.Split(ctx, c.Chunk, keys, uuid.NewString())
	if err != nil {
		return nil, err
	}
	c.measure()
	s.Crash("split")
	p := *c
	p.Chunk, p.state = part, none
	p.measure()
	return &p, nil
}

// requeue makes the lost rows of a chunk owed; the others are proven.
func (s *Shipper) requeue(ctx context.Context, c *inflight, on event, lost store.KeySet) error {
	if len(lost) == 0 {
		return s.proved(ctx, c)
	}
	wasAccepted, found := c.uploaded(), c.n-len(lost)
	if wasAccepted {
		c.lost++
	}
	if on == evExpired || wasAccepted && !s.mayHaveForgotten(c) && c.undecided == 0 {
		c.Resends++ // answered 2xx by a server that did not fail meanwhile, and not stored
	}
	if !c.suspicion.refused {
		c.HTTPStatus = 0 // see store.Requeued: a status there means halving
	}
	if err := s.Outbox.Requeue(ctx, c.Chunk, lost); err != nil {
		return err
	}
	c.measure()
	c.silent, c.absent, c.shown = time.Time{}, time.Time{}, 0
	s.move(c, on, owed)
	s.Crash("requeued")
	now := s.Now()
	s.Stats.requeue(len(lost))
	s.Stats.verify(found)
	if !wasAccepted {
		s.Stats.accept(found, c.how, now)
		c.due = time.Now().Add(resendDelay(c.suspicion.breaks))
		return nil
	}
	c.due = time.Now().Add(max(resendDelay(c.lost), c.undecided))
	s.reading.lostRows += len(lost)
	s.reading.lost.FailN(s.Log, slog.LevelWarn, "accepted samples missing at the server, sent again", nil, len(lost),
		"found", found, "resends", c.Resends, "server_was_away", c.Resends < c.lost, "missing_since_start", s.reading.lostRows)
	return nil
}

// report updates the counts for health: samples that the server does not keep, and whether it shows
// nothing at all.
func (s *Shipper) report() {
	var unkept, hidden time.Time
	rows := 0
	anyLost := false
	told := max(toldAfter, 2*s.interval())
	for _, c := range s.chunks.all {
		first := time.UnixMilli(c.from())
		switch {
		case c.Resends > 0, c.state == unseen && !c.silent.IsZero() && time.Since(c.silent) >= told:
			unkept = earliest(unkept, first)
		case c.state == unseen && c.silent.IsZero() && time.Since(c.absent) >= told:
			hidden = earliest(hidden, first)
			rows += c.n
		}
		anyLost = anyLost || c.lost > 0 || c.state == owed
	}
	now := s.Now()
	s.Stats.unkept(unkept, now)
	s.Stats.notVisible(hidden, now)
	if rows > 0 {
		s.reading.hidden.FailN(s.Log, slog.LevelWarn, "the server shows none of the samples that were sent, nothing is sent again", nil, 0,
			"samples", rows, "remedy", "check tenant, filters and relabeling of the server, and proxies that queue")
	} else {
		s.reading.hidden.Recover(s.Log, "what was sent shows at the server")
	}
	if !anyLost {
		s.reading.lost.Recover(s.Log, "no sample missing at the server any more", "missing_since_start", s.reading.lostRows)
	}
}

// resendMost bounds the pause before a resend.
const resendMost = 10 * time.Minute

// resendDelay grows with the number of resends, from zero to resendMost.
func resendDelay(times int) time.Duration {
	if times <= 1 {
		return 0
	}
	return min(resendMost, 30*time.Second<<min(times-2, 10))
}

const (
	// forgets is how long after its 2xx a killed VictoriaMetrics may lose a sample: as
	// measured, it takes 10 to 12 s to write them to its disk.
	forgets = 20 * time.Second
	// habit is how many chunks in a row must arrive although the connection was closed after their
	// 2xx. Then a proxy closes idle connections, and a close does not mean that the server was
	// killed.
	habit = 3
)

// mayHaveForgotten reports whether the server may have lost, by being killed, what
// it accepted with the last attempt.
func (s *Shipper) mayHaveForgotten(c *inflight) bool {
	return c.tried.IsZero() || // sent by an earlier run: not known
		s.sending.lastAway.After(c.tried) || s.sending.hangups < habit && s.hungUp(c)
}

func (s *Shipper) hungUp(c *inflight) bool { return s.Server.HungUp(c.tried, c.tried.Add(forgets)) }

// noteHangup counts whether the connection was closed after a chunk that arrived, or a part of it.
func (s *Shipper) noteHangup(c *inflight) {
	switch {
	case c.tried.IsZero() || !c.uploaded():
	case s.hungUp(c):
		s.sending.hangups++
	default:
		s.sending.hangups = 0
	}
}
