package ship

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
)

// unsentLimit is how long a chunk that was certainly never sent is kept as it is. After that its
// rows become plain pending rows again, because a backlog takes fewer bytes in larger chunks.
const unsentLimit = 10 * time.Minute

// send sends the chunks that are to be sent again, then pending rows, then the chunks that were
// answered with 5xx, and last the suspects, so that these delay no others. With newest_first the
// present comes before all of them, unless it is not known whether the server accepts anything.
// more = call again at once.
func (s *Shipper) send(ctx context.Context) (more bool, err error) {
	type step func() (ok bool, err error)
	batch := s.drain != nil || !time.Now().Before(s.nextBatch)
	newest := batch && s.newestFirst()
	if batch {
		s.nextBatch = s.afterInterval()
	}
	end := endOfTime
	if s.newestFirst() && (batch || s.backlog) {
		if end, err = s.presentFrom(ctx); err != nil {
			return false, err
		}
	}
	again := func(kind func(*inflight) bool) step {
		return func() (bool, error) { return s.sendAgain(ctx, kind) }
	}
	steps := []step{again((*inflight).clean), func() (ok bool, err error) {
		if !batch && !s.backlog {
			return true, nil
		}
		if s.backlog = time.Now().Before(s.pace.free); s.backlog {
			return true, nil
		}
		s.backlog, ok, err = s.sendPending(ctx, 0, end)
		if ok && !s.backlog && err == nil {
			s.flow.sentAll(time.Now())
		}
		return ok, err
	}, again((*inflight).doubted), again((*inflight).suspect)}
	if s.doubtedFirst() {
		steps[1], steps[2] = steps[2], steps[1]
	}
	if newest {
		known := min(s.sending.failures, 1) // a chunk that is to go out shows whether the server is back
		steps = slices.Insert(steps, known, func() (bool, error) { return s.sendPresent(ctx, end) })
	}
	if s.sending.sick() {
		// The server refuses everything: one request at a time, of each kind in turn.
		if s.sending.probes++; s.sending.probes%2 == 0 {
			steps = steps[len(steps)-1:]
		}
	}
	ok := true
	for i := 0; i < len(steps) && ok && err == nil; i++ {
		ok, err = steps[i]()
	}
	if err == nil {
		err = s.flush(ctx)
	}
	// Else the loop would wake up each second for a backlog that it may not send.
	s.backlog = s.backlog && ok && !s.sending.sick()
	return err == nil && (s.backlog && !time.Now().Before(s.pace.free) || s.presentWaits()), err
}

// endOfTime is beyond all keys of samples.
const endOfTime = store.Key(math.MaxInt64)

// presentUploads is the length of the present in upload intervals: the rows of one upload, and
// those of one that was late or failed.
const presentUploads = 2

func (s *Shipper) newestFirst() bool { return s.cfg.NewestFirst && s.drain == nil }

// presentFrom returns the key at which the present begins. Older rows are the backlog, which is
// sent after it, oldest first.
func (s *Shipper) presentFrom(ctx context.Context) (store.Key, error) {
	last, err := s.Outbox.LastKey(ctx)
	return store.PackKey(max(0, last.TimestampMS()-presentUploads*s.interval().Milliseconds()), 0), err
}

// presentWaits reports whether the present is to be sent now. In that case nothing else is
// started.
func (s *Shipper) presentWaits() bool {
	now := time.Now()
	return s.newestFirst() && s.sending.failures == 0 && !now.Before(s.nextBatch) && !now.Before(s.notBefore)
}

// sendPresent sends all of the present. If its true time is not known, only the present waits.
func (s *Shipper) sendPresent(ctx context.Context, from store.Key) (ok bool, err error) {
	for more := true; more; {
		if more, ok, err = s.sendPending(ctx, from, endOfTime); err != nil || !ok {
			return ok || s.sending.failures == 0 && ctx.Err() == nil, err
		}
	}
	return true, nil
}

// sendPending takes pending rows with keys from from on and below end, and sends them: all, or
// one body of a backlog. more = others are left. ok = the server takes requests.
func (s *Shipper) sendPending(ctx context.Context, from, end store.Key) (more, ok bool, err error) {
	s.economise(ctx)
	limit := s.fresh(s.batchSize())
	rows, t, ok, err := s.pending(ctx, from, end, limit+1)
	if err != nil || len(rows) == 0 {
		return false, ok, err
	}
	build := s.Builder.Build
	if more = len(rows) > limit; more {
		build = s.Builder.BuildCatchUp
		rows = rows[:limit]
		// After a failure one batch shows first whether the server accepts again: its
		// record costs a synced write, and the budget cannot drop its rows.
		if s.sending.failures == 0 {
			limit = s.fresh(s.catchUpRows())
			if rows, t, ok, err = s.pending(ctx, from, end, limit); err != nil || len(rows) == 0 {
				return false, ok, err
			}
			if len(rows) == limit {
				rows = wholeTicks(rows)
			}
			rows = s.paced(rows)
		}
	}
	if n := len(rows); s.drain != nil && s.sending.lastAccepted.IsZero() && !more && n > 1 {
		rows, more = rows[:(n+1)/2], true // no more will come: keep the rest for the case that these are refused
	}
	if n := sameOffset(rows, t); n < len(rows) {
		rows, more = rows[:n], true // those of the next epoch follow at once
	}
	n, err := s.oneRun(ctx, rows)
	if err != nil {
		return false, false, err
	}
	if n < len(rows) {
		rows, more = rows[:n], true
	}
	fromMS, toMS := t.MS(rows[0].Key), t.MS(rows[len(rows)-1].Key)
	created, ok := s.created(ctx, t, fromMS, toMS)
	if !ok {
		return false, false, nil
	}
	requests, refused, text, err := build(rows, s.series(ctx), created, fromMS-rows[0].Key.TimestampMS())
	if err != nil {
		return false, false, err
	}
	s.flow.rows += len(rows)
	rows = nil // the requests have all that is needed
	if err := s.setAside(ctx, refused, text); err != nil {
		return false, false, err
	}
	chunks, err := s.record(ctx, requests, created, t)
	if err != nil {
		return false, false, err
	}
	for i, req := range requests {
		requests[i] = nil // after it was sent it can be freed
		if !s.size.fits(req.Rows()) {
			continue // the last one was too large
		}
		begun := time.Now()
		if ok, err := s.transmit(ctx, req, chunks[i]...); err != nil || !ok {
			return false, false, err
		}
		if more {
			s.size.took(req.Rows(), time.Since(begun))
			s.pace.spent(len(req.Gzip)+headBytes, time.Now())
			s.pace.free = later(s.pace.free, s.rested(ctx, req.Bodies[0]))
		}
	}
	return more, true, nil
}

// headBytes is what a request takes beside its body. A backlog with holes, such as samples that a
// textfile has for earlier times, is many small requests.
const headBytes = 130

// catchUpRows is how many rows of a backlog are read at once: one body, so that others can be sent
// between two of them.
func (s *Shipper) catchUpRows() int {
	rows := min(s.cfg.CatchUpRows, s.Builder.CatchUpRows())
	if s.newestFirst() {
		rows = s.size.short(rows)
	}
	return rows
}

// wholeTicks leaves out the last tick, unless it is the only one, so that a count of the rest
// includes no rows of other chunks.
func wholeTicks(rows []store.Row) []store.Row {
	last := rows[len(rows)-1].Key.TimestampMS()
	return rows[:cmp.Or(before(rows, store.PackKey(last, 0)), len(rows))]
}

// holeAfter is the time between two pending rows above which the rows between them matter.
const holeAfter = 10 * time.Minute

// oneRun returns how many of the rows, from the first one on, have no rows between them that are
// done: a read-back of a chunk with such a hole would list the samples in it, too.
func (s *Shipper) oneRun(ctx context.Context, rows []store.Row) (int, error) {
	for i := 1; i < len(rows); i++ {
		a, b := rows[i-1].Key, rows[i].Key
		if b.TimestampMS()-a.TimestampMS() <= holeAfter.Milliseconds() {
			continue
		}
		if done, err := s.Outbox.Delivered(ctx, store.KeyRange{From: a + 1, To: b - 1}); err != nil || done {
			return i, err
		}
	}
	return len(rows), nil
}

// fresh bounds the rows of a batch that was never sent. What is refused before anything was read
// back is not sent again (see conclude), so only such rows can show which body the server
// accepts: half as many after each refusal.
func (s *Shipper) fresh(rows int) int {
	rows = s.size.of(rows)
	if s.sending.refusals > 0 && s.cfg.Verify.Enabled && !s.provenOnce() {
		rows = min(rows, max(1, s.sending.refusedRows/2))
	}
	return rows
}

// pending returns the oldest pending rows from from on and below end whose true time is known and
// that no chunk in flight has. ok = the server takes requests.
func (s *Shipper) pending(ctx context.Context, from, end store.Key, limit int) (rows []store.Row, t store.Timeline, ok bool, err error) {
	if rows, err = s.Outbox.Pending(ctx, from, limit, s.chunks.owner()); err != nil {
		return nil, nil, false, err
	}
	rows = rows[:before(rows, end)]
	if s.drain != nil {
		rows = s.drain.cut(rows)
	}
	// Read after the rows, it has all of their epochs.
	if t, err = s.Outbox.Timeline(ctx); err != nil || len(rows) == 0 {
		return nil, t, true, err
	}
	ok = true
	if rows[len(rows)-1].Key < t.Known() {
		if end == endOfTime { // otherwise the present may still wait
			s.timeKnown()
		}
	} else {
		if ok, err = s.correct(ctx); err != nil {
			return nil, nil, false, err
		}
		if t, err = s.Outbox.Timeline(ctx); err != nil {
			return nil, nil, false, err
		}
	}
	s.times = t
	return rows[:before(rows, t.Known())], t, ok, nil
}

// sameOffset returns how many of the rows, from the first one on, have its offset. A chunk has
// rows of one offset only.
func sameOffset(rows []store.Row, t store.Timeline) int { return before(rows, t.End(rows[0].Key)) }

// before returns how many rows have keys below k.
func before(rows []store.Row, k store.Key) int {
	n, _ := slices.BinarySearchFunc(rows, k, func(r store.Row, k store.Key) int { return cmp.Compare(r.Key, k) })
	return n
}

// setAside moves rows that cannot be sent out of the way.
func (s *Shipper) setAside(ctx context.Context, refused []chunk.Refused, text store.KeySet) error {
	if len(text) > 0 {
		if err := s.Outbox.MarkUnsendable(ctx, text); err != nil {
			return err
		}
	}
	if len(refused) == 0 {
		return nil
	}
	rejected, byReason := rejections(refused)
	if err := s.Outbox.MoveToDeadLetters(ctx, rejected); err != nil {
		return err
	}
	s.countRejected(byReason)
	return nil
}

// rejected counts and logs the rows that became dead letters.
func (s *Shipper) rejected(n int, reason, detail string) {
	s.Stats.reject(reason, n)
	s.notice(s.Log, noticeRejected, reason, nil, n, "detail", detail)
}

// record writes the chunks of all requests to the file before their first byte is sent. Each body
// is a chunk.
func (s *Shipper) record(ctx context.Context, requests []*chunk.Request, created time.Time, t store.Timeline) (all [][]*inflight, err error) {
	if len(requests) == 0 {
		return nil, nil
	}
	batch := uuid.NewString()
	var chunks []*store.Chunk
	for _, req := range requests {
		for _, b := range req.Bodies {
			chunks = append(chunks, &store.Chunk{
				BatchID: batch, Index: len(chunks), Keys: b.Keys, Contiguous: b.Contiguous,
				Bytes: b.Bytes, Hash: b.Hash, Created: created,
			})
		}
	}
	if err := s.Outbox.RecordSending(ctx, chunks...); err != nil {
		return nil, err
	}
	for _, req := range requests {
		var of []*inflight
		for _, b := range req.Bodies {
			c := newInflight(chunks[0], t)
			chunks = chunks[1:]
			c.born = time.Now()
			s.clamped(c, b)
			s.move(c, evRecord, recorded)
			of = append(of, c)
		}
		all = append(all, of)
	}
	s.Crash("recorded")
	return all, nil
}

// clamped notes how many timestamps of a body were clamped.
func (s *Shipper) clamped(c *inflight, body *chunk.Body) {
	if body.Clamped == 0 {
		return
	}
	s.reading.blurred.add(body.Range())
	s.Stats.clamped(body.Clamped)
	s.notice(s.Log, noticeClamped, "", nil, body.Clamped, logx.KeyBatchID, c.BatchID, logx.KeyChunkIndex, c.Index)
}

// withdraw removes a chunk of which the server certainly has nothing, or of which no row is left.
func (s *Shipper) withdraw(ctx context.Context, c *inflight, on event) error {
	if err := s.Outbox.Withdraw(ctx, c.Chunk); err != nil {
		return err
	}
	s.move(c, on, withdrawn)
	return nil
}

// rebuild builds the body of a recorded chunk again from its rows, as a request of its own. nil =
// none of them is in the file any more, and the chunk is withdrawn.
func (s *Shipper) rebuild(ctx context.Context, c *inflight) (*chunk.Request, error) {
	if err := c.unpack(); err != nil {
		return nil, err
	}
	for {
		rows, err := s.Outbox.Rows(ctx, c.Keys)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return nil, s.withdraw(ctx, c, evGone)
		}
		req, err := s.Builder.Rebuild(rows, s.series(ctx), c.Created, c.offset)
		unfit, ok := errors.AsType[*chunk.UnfitError](err)
		if !ok {
			return req, err
		}
		rejected, byReason := rejections(unfit.Refused)
		if err := s.Outbox.Reject(ctx, c.Chunk, rejected); err != nil {
			return nil, err
		}
		c.measure()
		s.countRejected(byReason)
	}
}

// rejections are refused rows as the store takes them, and by their reasons.
func rejections(refused []chunk.Refused) (rejected []store.Rejection, byReason map[string][]chunk.Refused) {
	byReason = map[string][]chunk.Refused{}
	for _, r := range refused {
		rejected = append(rejected, store.Rejection(r))
		byReason[r.Reason] = append(byReason[r.Reason], r)
	}
	return rejected, byReason
}

func (s *Shipper) countRejected(byReason map[string][]chunk.Refused) {
	for reason, of := range byReason {
		s.rejected(len(of), reason, of[0].Detail)
	}
}

func (s *Shipper) series(ctx context.Context) chunk.SeriesFunc {
	return func(id int64) (*store.SeriesInfo, error) { return s.Outbox.Series(ctx, id) }
}
