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
// After that its rows go back to the pool: a backlog ships better in larger
// chunks.
const unsentLimit = 10 * time.Minute

// send ships what is owed: chunks that are to go again, then pending rows, then the
// chunks that were answered with an error of the server, and at last those against
// which something speaks, so that these hold up nobody. more = there is a backlog and the server takes it.
func (s *Shipper) send(ctx context.Context) (more bool, err error) {
	batch := s.drain != nil || !time.Now().Before(s.nextBatch)
	steps := []func() (ok bool, err error){
		func() (bool, error) { return s.sendAgain(ctx, (*parcel).clean) },
		func() (ok bool, err error) {
			if !batch {
				return true, nil
			}
			more, ok, err = s.sendPending(ctx)
			return ok, err
		},
		func() (bool, error) { return s.sendAgain(ctx, (*parcel).doubtful) },
		func() (bool, error) { return s.sendAgain(ctx, (*parcel).suspect) },
	}
	if s.doubtsFirst() {
		steps[1], steps[2] = steps[2], steps[1]
	}
	if s.sending.sick() {
		// The server refuses everything: one request at a time, and each kind gets
		// its turn to show that it does not.
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
		// After a failure one batch shows first whether the server is back: what
		// is recorded for it costs a synced write, and its rows are out of the
		// budget's reach.
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
	parcels, err := s.record(ctx, bodies, created)
	if err != nil {
		return false, false, err
	}
	for i, p := range parcels {
		body := bodies[i]
		bodies[i] = nil // sent, it is garbage
		if s.tooLarge(p) {
			continue // the last one was
		}
		if ok, err := s.transmit(ctx, p, body); err != nil || !ok {
			return false, false, err
		}
		if more && !s.wait(ctx, s.pace.spent(len(body.Gzip), time.Now())) {
			return false, false, nil
		}
	}
	return more, true, nil
}

// pending returns the oldest pending rows that no open chunk has.
func (s *Shipper) pending(ctx context.Context, limit int) ([]store.Row, error) {
	rows, err := s.Outbox.Pending(ctx, 0, limit, s.book.owner())
	if s.drain == nil || err != nil {
		return rows, err
	}
	if rows = s.drain.cut(rows); len(rows) == 0 && len(s.drain.ahead) > 0 {
		rows, err = s.Outbox.Pending(ctx, s.drain.ahead[0], limit, s.book.owner())
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
		s.buried(len(of), reason, of[0].Detail)
	}
	return nil
}

// buried counts and logs what went to the dead letters.
func (s *Shipper) buried(n int, reason, detail string) {
	s.Stats.reject(reason, n)
	s.notice(s.Log, noticeBuried, reason, nil, n, "detail", detail)
}

// record writes the chunks down before their first byte leaves.
func (s *Shipper) record(ctx context.Context, bodies []*chunk.Body, created time.Time) ([]*parcel, error) {
	if len(bodies) == 0 {
		return nil, nil
	}
	batch := uuid.NewString()
	parcels := make([]*parcel, len(bodies))
	chunks := make([]*store.Chunk, len(bodies))
	for i, b := range bodies {
		chunks[i] = &store.Chunk{
			BatchID: batch, Index: i, Keys: b.Keys, Contiguous: b.Contiguous,
			Bytes: len(b.Gzip), Hash: b.Hash, Created: created,
		}
		parcels[i] = newParcel(chunks[i])
		parcels[i].unsent, parcels[i].born = true, time.Now()
	}
	if err := s.Outbox.RecordSending(ctx, chunks...); err != nil {
		return nil, err
	}
	for i, p := range parcels {
		s.clamped(p, bodies[i])
		s.book.add(p)
	}
	s.Crash("recorded")
	return parcels, nil
}

// clamped notes how many timestamps of a body were moved.
func (s *Shipper) clamped(p *parcel, body *chunk.Body) {
	if body.Clamped == 0 {
		return
	}
	s.reading.blurred.add(body.Range())
	s.Stats.clamped(body.Clamped)
	s.notice(s.Log, noticeClamped, "", nil, body.Clamped, logx.KeyBatchID, p.BatchID, logx.KeyChunkIndex, p.Index)
}

// withdraw takes back a chunk of which the server certainly has nothing.
func (s *Shipper) withdraw(ctx context.Context, p *parcel) error {
	if err := s.Outbox.Withdraw(ctx, p.Chunk); err != nil {
		return err
	}
	s.book.close(p)
	return nil
}

// rebuild makes the body of a recorded chunk anew from its rows. nil = none of
// them is in the file any more, and the chunk is closed.
func (s *Shipper) rebuild(ctx context.Context, p *parcel) (*chunk.Body, error) {
	if err := p.unpack(); err != nil {
		return nil, err
	}
	rows, err := s.Outbox.Rows(ctx, p.Keys)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, s.withdraw(ctx, p)
	}
	return s.Builder.Rebuild(rows, s.series(ctx), p.Created)
}

func (s *Shipper) series(ctx context.Context) chunk.SeriesFunc {
	return func(id int64) (*store.SeriesInfo, error) { return s.Outbox.Series(ctx, id) }
}
