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
	// Accepted chunks wait for each other, so that one count settles several: it
	// costs more bytes than some uploads. As long as togetherUploads uploads take,
	// at most togetherMost.
	togetherUploads = 10
	togetherMost    = 5 * time.Minute
	// togetherDrain is the same while somebody waits for the end.
	togetherDrain = 2 * time.Second
	// togetherRows are enough for a count, whenever they were sent.
	togetherRows = 1_000_000
	// unseenEvery is the time between two looks at chunks of which nothing shows. Only the oldest is
	// read back: if it does not show, the others do not either.
	unseenEvery = time.Minute
	// unseenMost is how long a series may show nothing while others of the same requests do. Half a
	// store that is frozen and a queue that is stuck look the same: none that we have measured lasted
	// longer than ten minutes.
	unseenMost = 2 * time.Hour
	// toldAfter is how long samples may be absent before that is worth a condition: what a killed
	// server has lost has a witness by then.
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
	for _, c := range s.chunks.due(now, in(inDoubt, missing)) {
		if ok, err := s.readBack(ctx, c); err != nil || !ok {
			return err
		}
	}
	if due := s.chunks.due(now, in(accepted)); s.worthReading(due, now) {
		if ok, err := s.readTogether(ctx, due...); err != nil || !ok {
			return err
		}
	}
	return s.readUnseen(ctx, now)
}

// assume is verify where the operator has switched it off: what was accepted counts as verified
// after the delay, and what may have been stored is sent again. Delivery is at least once.
func (s *Shipper) assume(ctx context.Context, now time.Time) error {
	for _, c := range s.chunks.due(now, in(inDoubt)) {
		s.reading.blurred.add(c.first.TimestampMS(), c.last.TimestampMS())
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
	return min(togetherMost, togetherUploads*s.cfg.UploadInterval)
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

// readTogether finds out what became of chunks: all of them at once where one count shows that
// everything is there, or nothing, else half by half, else sample by sample. ok = the server can be
// read.
func (s *Shipper) readTogether(ctx context.Context, group ...*inflight) (ok bool, err error) {
	s.Beat()
	found, ok, err := s.count(ctx, group)
	switch {
	case err != nil || !ok:
		return false, err
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

// readUnseen looks at the chunks of which nothing shows: at those that have a witness now, or whose
// time is up, and else at the oldest. While that one shows, the next ones follow, more each time.
func (s *Shipper) readUnseen(ctx context.Context, now time.Time) error {
	for _, c := range s.chunks.due(now, in(unseen)) {
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
	for n := 1; len(waiting) > 0; n *= 2 {
		group := waiting[:min(n, len(waiting))]
		waiting = waiting[len(group):]
		if ok, err := s.readTogether(ctx, group...); err != nil || !ok {
			return err
		}
		if slices.ContainsFunc(group, in(unseen)) {
			break
		}
	}
	s.reading.looks++
	every := unseenEvery
	if s.drain != nil {
		every = s.cfg.Verify.Settle
	}
	s.reading.unseenAfter = now.Add(every)
	return nil
}

// errNotVisible is why a drain gets no further: nothing is sent again without a witness.
var errNotVisible = errors.New("what was sent does not show at the server: it may be in a queue, or be lost; nothing is sent again before the server shows something that was sent later")

// unseenReady reports whether something can be concluded about a chunk that was unseen so far.
func (s *Shipper) unseenReady(c *inflight, now time.Time) (bool, error) {
	if !c.silent.IsZero() && now.Sub(c.silent) >= unseenMost {
		return true, nil
	}
	if s.order.newest <= max(c.attempt, c.seen) {
		return false, nil
	}
	c.seen = s.order.newest
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
	if err := w.read(ctx, s); err != nil {
		s.readFailed(ctx, err)
		c.due = s.reading.notBefore.Add(time.Second) // others first, next time
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
	if err := s.noteProof(ctx, chunks[len(chunks)-1]); err != nil {
		return err
	}
	return s.verified(ctx, evProved, chunks...)
}

func (s *Shipper) verified(ctx context.Context, on event, chunks ...*inflight) error {
	all := make([]*store.Chunk, len(chunks))
	unanswered, rows := 0, 0
	for i, c := range chunks {
		all[i] = c.Chunk
		rows += c.n
		if !c.uploaded() {
			unanswered += c.n
		}
	}
	if err := s.Outbox.MarkVerified(ctx, all...); err != nil {
		return err
	}
	now := s.Now()
	for _, c := range chunks {
		s.noteHangup(c)
		s.move(c, on, verified)
	}
	if unanswered > 0 {
		s.Stats.accept(unanswered, now)
	}
	s.Stats.verify(rows, now)
	s.Crash("verified")
	return nil
}

// serverAnswered notes that the server has answered something. While nothing gets through, what an
// attempt has sent may wait on the way: a proxy or a modem holds it, or the kernel sends it
// repeatedly. It arrives with the first requests after the outage. An answer at that moment proves
// nothing: what is there is a second old, and a server that is killed now loses it. So Settle
// counts from the first answer after the attempt.
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
