package ship

import (
	"context"
	"errors"
	"slices"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

const (
	// Accepted chunks wait for each other, so that one count settles several: a count costs more
	// bytes than some uploads. They wait for as long as togetherUploads uploads take, at most
	// togetherMost.
	togetherUploads = 10
	togetherMost    = 30 * time.Minute
	// togetherDrain is the same while somebody waits for the end.
	togetherDrain = 2 * time.Second
	// togetherRows are enough for a count, whenever they were sent.
	togetherRows = 1_000_000
	// unseenEvery is the time between two read-backs of chunks of which the server shows nothing.
	// Only the oldest is read back: if the server does not show it, it does not show the others
	// either.
	unseenEvery = time.Minute
	// unseenMost is how long the server may show nothing of a series while it shows others of the
	// same requests. A partly frozen store and a stuck queue look the same; none that we have
	// measured lasted longer than ten minutes.
	unseenMost = 2 * time.Hour
	// toldAfter is how long samples may be absent before a condition reports it, or two upload
	// intervals if that is longer: what a killed server has lost has a witness by then.
	toldAfter = 2 * time.Minute
)

// verify settles what can be settled now, by reading back.
func (s *Shipper) verify(ctx context.Context) error {
	now := time.Now()
	if !s.cfg.Verify.Enabled {
		return s.assume(ctx, now)
	}
	s.forgetInterval(now)
	if now.Before(s.reading.notBefore) {
		return nil
	}
	for due := s.chunks.due(now, in(inDoubt, missing)); len(due) > 0; {
		if s.presentWaits() {
			return nil
		}
		if due[0].state == missing {
			if ok, err := s.readBack(ctx, due[0]); err != nil || !ok {
				return err
			}
			due = due[1:]
			continue
		}
		n := 1 // those of one request are mostly all there, or none of them is
		for n < len(due) && due[n].state == inDoubt && due[n].BatchID == due[0].BatchID && due[n].attempt == due[0].attempt {
			n++
		}
		if ok, err := s.readTogether(ctx, due[:n]...); err != nil || !ok {
			return err
		}
		due = due[n:]
	}
	if due := s.chunks.due(now, in(accepted)); s.worthReading(due, now) {
		for _, group := range runs(due) {
			if s.presentWaits() {
				return nil
			}
			if ok, err := s.readTogether(ctx, group...); err != nil || !ok {
				return err
			}
		}
	}
	return s.readUnseen(ctx, now)
}

// assume replaces verify if verification is off: what was accepted counts as verified after the
// delay, and what may have been stored is sent again. Delivery is at-least-once.
func (s *Shipper) assume(ctx context.Context, now time.Time) error {
	for _, c := range s.chunks.due(now, in(inDoubt)) {
		s.reading.blurred.add(c.from(), c.to())
		s.move(c, evAssumed, recorded)
	}
	if due := s.chunks.due(now, in(accepted)); len(due) > 0 {
		return s.verified(ctx, evAssumed, due...)
	}
	return nil
}

// together is how long accepted chunks that have come due wait for others. They do not wait while
// nothing is known of the server yet, while others need a witness, or while the file is full.
func (s *Shipper) together() time.Duration {
	switch {
	case s.drain != nil:
		return togetherDrain
	case s.pressed, s.order.newest == 0, slices.ContainsFunc(s.chunks.all, func(c *inflight) bool {
		return (c.state == unseen || c.state == inDoubt) && s.order.newest <= c.attempt
	}):
		return 0
	}
	return min(togetherMost, togetherUploads*s.interval())
}

func (s *Shipper) worthReading(due []*inflight, now time.Time) bool {
	rows := 0
	oldest := now
	for _, c := range due {
		rows += c.n
		oldest = earliest(oldest, c.due)
	}
	return len(due) > 0 && (rows >= togetherRows || now.Sub(oldest) >= s.together())
}

// runs groups chunks in the order of their rows, without gaps in time, because a count covers a
// span.
func runs(chunks []*inflight) (all [][]*inflight) {
	var reached int64
	for _, c := range chunks {
		if len(all) == 0 || c.from()-reached > holeAfter.Milliseconds() {
			all, reached = append(all, nil), c.to()
		}
		all[len(all)-1] = append(all[len(all)-1], c)
		reached = max(reached, c.to())
	}
	return all
}

// readTogether settles chunks: all of them at once if one count shows everything or nothing,
// otherwise half by half, and in the end sample by sample. ok = the server can be read.
func (s *Shipper) readTogether(ctx context.Context, group ...*inflight) (ok bool, err error) {
	s.Beat()
	found, ok, err := s.count(ctx, group)
	switch {
	case err != nil || !ok:
		return false, err
	case found != foundSome && group[0].early():
		return true, nil
	case found == foundAll:
		return true, s.proved(ctx, group...)
	case found == foundNothing:
		for _, c := range group {
			if err := s.conclude(ctx, c, nil); err != nil {
				return false, err
			}
		}
		return true, nil
	case len(group) == 1:
		return s.readBack(ctx, group[0])
	}
	half := len(group) / 2
	if ok, err := s.readTogether(ctx, group[:half]...); err != nil || !ok {
		return false, err
	}
	return s.readTogether(ctx, group[half:]...)
}

// readUnseen reads back chunks of which the server shows nothing: those that have a witness now
// or whose time is up, otherwise the oldest. If the server shows that one, the next ones follow,
// more each time.
func (s *Shipper) readUnseen(ctx context.Context, now time.Time) error {
	for _, c := range s.chunks.due(now, in(unseen)) {
		if s.presentWaits() {
			return nil
		}
		ready, err := s.unseenReady(c, now)
		if err != nil {
			return err
		}
		if ready {
			if ok, err := s.readBack(ctx, c); err != nil || !ok {
				return err
			}
		}
	}
	if now.Before(s.reading.unseenAfter) {
		return nil
	}
	waiting := s.chunks.due(now, in(unseen))
	if len(waiting) == 0 {
		return nil
	}
	young := false
	for n := 1; len(waiting) > 0; n *= 2 {
		group := waiting[:min(n, len(waiting))]
		waiting = waiting[len(group):]
		if ok, err := s.readTogether(ctx, group...); err != nil || !ok {
			return err
		}
		young = young || slices.ContainsFunc(group, func(c *inflight) bool { return c.state == unseen && c.shown == c.n })
		if slices.ContainsFunc(group, func(c *inflight) bool { return c.state == unseen && c.shown < c.n }) {
			break
		}
	}
	s.reading.looks++
	every := unseenEvery
	if s.drain != nil || young {
		every = s.cfg.Verify.Settle
	}
	s.reading.unseenAfter = now.Add(every)
	return nil
}

// errNotVisible is why a drain gets no further: nothing is sent again without a witness.
var errNotVisible = errors.New("the server does not show what was sent: it may be in a queue or lost; nothing is sent again before the server shows something that was sent later")

// unseenReady reports whether something can be concluded about a chunk that was unseen so far.
func (s *Shipper) unseenReady(c *inflight, now time.Time) (bool, error) {
	if !c.silent.IsZero() && now.Sub(c.silent) >= unseenMost {
		return true, nil
	}
	if s.order.newest <= max(c.attempt, c.seen) {
		return false, nil
	}
	c.seen = s.order.newest
	if c.refused() {
		return s.provenOnce(), nil
	}
	if err := c.unpack(); err != nil {
		return false, err
	}
	defer c.pack()
	return slices.ContainsFunc(c.Keys, func(k store.Key) bool { return s.order.witness(k, c.attempt) }), nil
}

// readBack reads the samples of one chunk back and concludes from them. ok = the server can be
// read.
func (s *Shipper) readBack(ctx context.Context, c *inflight) (ok bool, err error) {
	s.Beat()
	w, err := s.wanted(ctx, c)
	if err != nil || w == nil {
		return err == nil, err
	}
	done, err := w.read(ctx, s)
	if err != nil {
		s.readFailed(ctx, err)
		c.due = s.reading.notBefore.Add(time.Second) // others first, next time
	}
	if !done {
		return false, nil
	}
	s.readWorks()
	s.reading.partly = nil
	if c.early() {
		return true, nil
	}
	lacks := w.missing()
	if len(lacks) > 0 && c.uploaded() {
		left, ok, err := s.leftOut(ctx, c, w)
		if err != nil || !ok {
			return false, err
		}
		lacks = lacks.Without(left)
		s.Stats.deduplicated(len(left))
	}
	if len(lacks) == 0 {
		return true, s.proved(ctx, c)
	}
	return true, s.conclude(ctx, c, c.Keys.Without(lacks))
}

// proved notes that everything of the chunks was read back.
func (s *Shipper) proved(ctx context.Context, chunks ...*inflight) error {
	for _, c := range chunks {
		if err := c.unpack(); err != nil {
			return err
		}
		s.order.show(c.Keys, c.attempt)
	}
	if chunks = slices.DeleteFunc(slices.Clone(chunks), func(c *inflight) bool { return s.young(c, c.n) }); len(chunks) == 0 {
		return nil
	}
	last := chunks[len(chunks)-1]
	if err := s.noteProof(ctx, last, last.Keys); err != nil {
		return err
	}
	return s.verified(ctx, evProved, chunks...)
}

// young reports whether an answer that shows a chunk proves nothing yet, because an earlier
// answer lacked it. The server received it late, from a queue or because a part of it was frozen,
// and would lose it if it were killed within seconds. Another answer, Settle later, has to show
// it too.
func (s *Shipper) young(c *inflight, shown int) bool {
	if c.absent.IsZero() || shown == 0 {
		c.shown = 0
		return false
	}
	now := time.Now()
	if shown != c.shown {
		c.shown, c.shownAt = shown, now
	}
	proven := c.shownAt.Add(s.cfg.Verify.Settle)
	if !now.Before(proven) {
		return false
	}
	c.due = proven
	c.pack()
	return true
}

func (s *Shipper) verified(ctx context.Context, on event, chunks ...*inflight) error {
	all := make([]*store.Chunk, len(chunks))
	rows, now := 0, s.Now()
	for i, c := range chunks {
		all[i] = c.Chunk
		rows += c.n
	}
	unanswered := slices.DeleteFunc(slices.Clone(chunks), (*inflight).uploaded)
	if err := s.Outbox.MarkVerified(ctx, all...); err != nil {
		return err
	}
	for _, c := range unanswered {
		s.Stats.accept(c.n, c.how, now)
	}
	for _, c := range chunks {
		s.noteHangup(c)
		s.move(c, on, verified)
	}
	s.Stats.verify(rows)
	s.Crash("verified")
	return nil
}

// serverAnswered notes that the server has answered something. During an outage a request may be
// held by a proxy, a modem or the kernel. It arrives with the first requests after the outage. An
// answer at that moment proves nothing: what is there is a second old, and a server that is
// killed now loses it. Settle therefore counts from the first answer after the attempt.
func (s *Shipper) serverAnswered() {
	for _, c := range s.chunks.all {
		if c.state == inDoubt && !c.answered {
			c.answered = true
			c.due = later(c.due, time.Now().Add(s.cfg.Verify.Settle))
		}
	}
}

// early reports whether an answer about the chunk is the first one after its attempt.
func (c *inflight) early() bool { return c.state == inDoubt && c.due.After(time.Now()) }

// asError returns the failure as a *victoria.Error. Any other error is treated as the worst of
// them.
func asError(err error) *victoria.Error {
	if fault, ok := errors.AsType[*victoria.Error](err); ok {
		return fault
	}
	return &victoria.Error{Class: victoria.ClassServer, Ambiguous: true, Err: err}
}
