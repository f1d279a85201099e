package ship

import (
	"context"
	"time"

	"github.com/google/uuid"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
)

// unsentLimit is how long a chunk that certainly never left is kept as it is.
// After that its rows become plain pending rows again: a backlog takes fewer bytes
// in larger chunks.
const unsentLimit = 10 * time.Minute

// send ships the chunks that are to go out, then pending rows, then the chunks that were answered
// with 5xx, and last the suspects, so that these delay no others. more = there is a backlog and the
// server takes it.
func (s *Shipper) send(ctx context.Context) (more bool, err error) {
	batch := s.drain != nil || !time.Now().Before(s.nextBatch)
	steps := []func() (ok bool, err error){
		func() (bool, error) { return s.sendAgain(ctx, (*inflight).clean) },
		func() (ok bool, err error) {
			if !batch {
				return true, nil
			}
			more, ok, err = s.sendPending(ctx)
			return ok, err
		},
		func() (bool, error) { return s.sendAgain(ctx, (*inflight).doubted) },
		func() (bool, error) { return s.sendAgain(ctx, (*inflight).suspect) },
	}
	if s.doubtedFirst() {
		steps[1], steps[2] = steps[2], steps[1]
	}
	if s.sending.sick() {
		// The server refuses everything: one request at a time, of each kind in turn.
		if s.sending.probes++; s.sending.probes%2 == 0 {
			steps = steps[3:]
		}
	}
	ok := true
	for i := 0; i < len(steps) && ok && err == nil; i++ {
		ok, err = steps[i]()
	}
	if err == nil {
		err = s.flush(ctx)
	}
	more = more && ok && err == nil
	if batch && !more {
		s.nextBatch = s.afterInterval()
	}
	return more, err
}

// sendPending takes pending rows and ships them. ok = the server takes requests.
func (s *Shipper) sendPending(ctx context.Context) (more, ok bool, err error) {
	limit := s.size.of(s.cfg.BatchSize)
	rows, err := s.pending(ctx, limit+1)
	if err != nil || len(rows) == 0 {
		return false, true, err
	}
	build := s.Builder.Build
	if more = len(rows) > limit; more {
		build = s.Builder.BuildCatchUp
		rows = rows[:limit]
		// After a failure one batch shows first whether the server accepts again: its
		// record costs a synced write, and the budget cannot drop its rows.
		if s.sending.failures == 0 {
			if rows, err = s.pending(ctx, s.size.of(s.cfg.CatchUpRows)); err != nil {
				return false, false, err
			}
		}
	}
	created, ok := s.created(ctx, rows[0].Key, rows[len(rows)-1].Key)
	if !ok {
		return false, false, nil
	}
	bodies, refused, text, err := build(rows, s.series(ctx), created)
	if err != nil {
		return false, false, err
	}
	rows = nil // the bodies have all that is needed
	if err := s.setAside(ctx, refused, text); err != nil {
		return false, false, err
	}
	chunks, err := s.record(ctx, bodies, created)
	if err != nil {
		return false, false, err
	}
	for i, c := range chunks {
		body := bodies[i]
		bodies[i] = nil // sent, it is garbage
		if s.tooLarge(c) {
			continue // the last one was
		}
		if ok, err := s.transmit(ctx, c, body); err != nil || !ok {
			return false, false, err
		}
		if more && !s.wait(ctx, s.pace.spent(len(body.Gzip), time.Now())) {
			return false, false, nil
		}
	}
	return more, true, nil
}

// pending returns the oldest pending rows that no chunk in flight has.
func (s *Shipper) pending(ctx context.Context, limit int) ([]store.Row, error) {
	rows, err := s.Outbox.Pending(ctx, 0, limit, s.chunks.owner())
	if s.drain == nil || err != nil {
		return rows, err
	}
	if rows = s.drain.cut(rows); len(rows) == 0 && len(s.drain.ahead) > 0 {
		rows, err = s.Outbox.Pending(ctx, s.drain.ahead[0], limit, s.chunks.owner())
		rows = s.drain.cut(rows)
	}
	return rows, err
}

// setAside takes rows off the queue that no request can carry.
func (s *Shipper) setAside(ctx context.Context, refused []chunk.Refused, text store.KeySet) error {
	if len(text) > 0 {
		if err := s.Outbox.MarkUnsendable(ctx, text); err != nil {
			return err
		}
	}
	if len(refused) == 0 {
		return nil
	}
	rejected := make([]store.Rejection, len(refused))
	byReason := map[string][]chunk.Refused{}
	for i, r := range refused {
		rejected[i] = store.Rejection(r)
		byReason[r.Reason] = append(byReason[r.Reason], r)
	}
	if err := s.Outbox.MoveToDeadLetters(ctx, rejected); err != nil {
		return err
	}
	for reason, of := range byReason {
		s.rejected(len(of), reason, of[0].Detail)
	}
	return nil
}

// rejected counts and logs what went to the dead letters.
func (s *Shipper) rejected(n int, reason, detail string) {
	s.Stats.reject(reason, n)
	s.notice(s.Log, noticeRejected, reason, nil, n, "detail", detail)
}

// record writes the chunks to the file before their first byte leaves.
func (s *Shipper) record(ctx context.Context, bodies []*chunk.Body, created time.Time) ([]*inflight, error) {
	if len(bodies) == 0 {
		return nil, nil
	}
	batch := uuid.NewString()
	chunks := make([]*store.Chunk, len(bodies))
	for i, b := range bodies {
		chunks[i] = &store.Chunk{
			BatchID: batch, Index: i, Keys: b.Keys, Contiguous: b.Contiguous,
			Bytes: len(b.Gzip), Hash: b.Hash, Created: created,
		}
	}
	if err := s.Outbox.RecordSending(ctx, chunks...); err != nil {
		return nil, err
	}
	all := make([]*inflight, len(bodies))
	for i, c := range chunks {
		all[i] = newInflight(c)
		all[i].born = time.Now()
		s.clamped(all[i], bodies[i])
		s.move(all[i], evRecord, recorded)
	}
	s.Crash("recorded")
	return all, nil
}

// clamped notes how many timestamps of a body were moved.
func (s *Shipper) clamped(c *inflight, body *chunk.Body) {
	if body.Clamped == 0 {
		return
	}
	s.reading.blurred.add(body.Range())
	s.Stats.clamped(body.Clamped)
	s.notice(s.Log, noticeClamped, "", nil, body.Clamped, logx.KeyBatchID, c.BatchID, logx.KeyChunkIndex, c.Index)
}

// withdraw takes back a chunk of which the server certainly has nothing, or of which no row is
// left.
func (s *Shipper) withdraw(ctx context.Context, c *inflight, on event) error {
	if err := s.Outbox.Withdraw(ctx, c.Chunk); err != nil {
		return err
	}
	s.move(c, on, withdrawn)
	return nil
}

// rebuild makes the body of a recorded chunk anew from its rows. nil = none of
// them is in the file any more, and the chunk is withdrawn.
func (s *Shipper) rebuild(ctx context.Context, c *inflight) (*chunk.Body, error) {
	if err := c.unpack(); err != nil {
		return nil, err
	}
	rows, err := s.Outbox.Rows(ctx, c.Keys)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, s.withdraw(ctx, c, evGone)
	}
	return s.Builder.Rebuild(rows, s.series(ctx), c.Created)
}

func (s *Shipper) series(ctx context.Context) chunk.SeriesFunc {
	return func(id int64) (*store.SeriesInfo, error) { return s.Outbox.Series(ctx, id) }
}
