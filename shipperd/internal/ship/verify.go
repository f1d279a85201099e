package ship

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

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

// assume is verify where the operator has switched it off: what was accepted counts as verified after
// the delay, and what may have been stored is sent again. Delivery is at least once.
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
var errNotVisible = errors.New("what was sent does not show at the server: it may be in a queue, or be lost; nothing is sent again before something that was sent later shows")

// unseenReady reports whether something can be concluded of a chunk that was unseen so far.
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

// readBack reads the samples of one chunk back and concludes from them. ok = the server can be read.
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
		s.Stats.thinned(len(left))
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

// conclude decides what follows from an answer that shows some rows of a chunk and lacks the others.
// It is the one place where an absence is believed.
func (s *Shipper) conclude(ctx context.Context, c *inflight, shown store.KeySet) error {
	if err := c.unpack(); err != nil {
		return err
	}
	s.order.show(shown, c.attempt)
	lacks := c.Keys.Without(shown)
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
	a := s.order.judge(c, lacks)
	if len(a.witnessed) > 0 {
		return s.absentWithWitness(ctx, c, a)
	}
	if !c.silent.IsZero() && now.Sub(c.silent) >= unseenMost && s.drain == nil {
		return s.expired(ctx, c, a)
	}
	c.due = now.Add(s.cfg.Verify.Settle)
	c.pack()
	s.move(c, evSilent, unseen)
	return nil
}

// absentWithWitness waits for the second answer. Rows without a witness go on by themselves.
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
	s.move(c, evLacking, missing)
	return nil
}

// expired ends the wait for a witness, where others that were sent with the chunk, or later, show. A
// series that was sent since and never shows is dropped by the server; of one that has ended, samples
// are sent again. What was never answered with 2xx is sent again, too.
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
	s.noteHangup(c)
	s.Crash("narrowed")
	now := s.Now()
	if !c.uploaded() {
		s.Stats.accept(found, now)
	}
	s.Stats.verify(found, now)
	return nil
}

// split takes rows out of a chunk into one of their own.
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
		c.Resends++ // answered 2xx by a server that was well, and thrown away
	}
	if !c.blame.refused {
		c.HTTPStatus = 0 // see store.Requeued: a status there means halving
	}
	if err := s.Outbox.Requeue(ctx, c.Chunk, lost); err != nil {
		return err
	}
	c.measure()
	c.silent, c.absent = time.Time{}, time.Time{}
	s.move(c, on, owed)
	s.Crash("requeued")
	now := s.Now()
	s.Stats.requeue(len(lost))
	s.Stats.verify(found, now)
	if !wasAccepted {
		s.Stats.accept(found, now)
		c.due = time.Now().Add(resendDelay(c.blame.breaks))
		return nil
	}
	c.due = time.Now().Add(max(resendDelay(c.lost), c.undecided))
	s.reading.lostRows += len(lost)
	s.reading.lost.FailN(s.Log, slog.LevelWarn, "accepted samples missing at the server, sent again", nil, len(lost),
		"found", found, "resends", c.Resends, "server_was_away", c.Resends < c.lost, "missing_since_start", s.reading.lostRows)
	return nil
}

// report tells what does not show: samples that the server throws away, and that nothing shows at
// all.
func (s *Shipper) report() {
	var unkept, hidden time.Time
	rows := 0
	anyLost := false
	for _, c := range s.chunks.all {
		first := time.UnixMilli(c.first.TimestampMS())
		switch {
		case c.Resends > 0, c.state == unseen && !c.silent.IsZero() && time.Since(c.silent) >= toldAfter:
			unkept = earliest(unkept, first)
		case c.state == unseen && c.silent.IsZero() && time.Since(c.absent) >= toldAfter:
			hidden = earliest(hidden, first)
			rows += c.n
		}
		anyLost = anyLost || c.lost > 0 || c.state == owed
	}
	now := s.Now()
	s.Stats.unkept(unkept, now)
	s.Stats.notVisible(hidden, rows, now)
	if rows > 0 {
		s.reading.hidden.FailN(s.Log, slog.LevelWarn, "nothing of what was sent shows at the server, nothing is sent again", nil, 0,
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

// resendDelay grows with the number of times, from at once to resendMost.
func resendDelay(times int) time.Duration {
	if times <= 1 {
		return 0
	}
	return min(resendMost, 30*time.Second<<min(times-2, 10))
}

const (
	// forgets is how long after its 2xx a killed VictoriaMetrics may forget a sample:
	// it has been seen to take 10 to 12 s to bring them to its disk.
	forgets = 20 * time.Second
	// habit is how many chunks in a row must arrive although the connection was closed after their
	// 2xx, for that to be what a front does with idle connections rather than a kill of the server.
	habit = 3
)

// mayHaveForgotten reports whether the server may have lost, by being killed, what
// it accepted with the last attempt.
func (s *Shipper) mayHaveForgotten(c *inflight) bool {
	return c.tried.IsZero() || // by an earlier run, who knows
		s.sending.lastAway.After(c.tried) || s.sending.hangups < habit && s.hungUp(c)
}

func (s *Shipper) hungUp(c *inflight) bool { return s.Server.HungUp(c.tried, c.tried.Add(forgets)) }

// noteHangup learns from a chunk that arrived, or a part of it.
func (s *Shipper) noteHangup(c *inflight) {
	switch {
	case c.tried.IsZero() || !c.uploaded():
	case s.hungUp(c):
		s.sending.hangups++
	default:
		s.sending.hangups = 0
	}
}

// heardServer notes that the server has answered something. While nothing gets through, what an
// attempt has sent may wait on the way: a proxy or a modem holds it, or the kernel sends it again and
// again. It arrives with the first requests after the outage. An answer of that moment is worth
// nothing: what is there is a second old, and a server killed now forgets it. So Settle counts from
// the first answer after the attempt.
func (s *Shipper) heardServer() {
	for _, c := range s.chunks.all {
		if c.state == inDoubt && !c.answered {
			c.answered = true
			c.due = later(c.due, time.Now().Add(s.cfg.Verify.Settle))
		}
	}
}

// early reports whether an answer about the chunk is the first one after its attempt.
func (c *inflight) early() bool { return c.state == inDoubt && c.due.After(time.Now()) }

// asError returns what the edge says of a failure. What is no *victoria.Error
// is treated as the worst of them.
func asError(err error) *victoria.Error {
	if fault, ok := errors.AsType[*victoria.Error](err); ok {
		return fault
	}
	return &victoria.Error{Class: victoria.ClassServer, Ambiguous: true, Err: err}
}
