package ship

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// stopGrace is how long a request in flight may go on after SIGTERM: a reply
// that still comes spares the next start a question.
const stopGrace = 3 * time.Second

// unsentLimit is how long a chunk that certainly never left is kept as it is.
// After that its rows go back to the pool: timestamps are clamped against the
// chunk's creation, and a backlog ships better in larger chunks.
const unsentLimit = 10 * time.Minute

// send ships what is owed: first chunks that are to go again, then pending
// rows. more = there is a backlog and the server takes it.
func (s *Shipper) send(ctx context.Context) (more bool, err error) {
	if ok, err := s.sendAgain(ctx); err != nil || !ok {
		return false, err
	}
	rows, err := s.Outbox.Pending(ctx, 0, s.cfg.BatchSize+1, s.book.owns)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	build := s.Builder.Build
	if more = len(rows) > s.cfg.BatchSize; more {
		build = s.Builder.BuildCatchUp
		if rows, err = s.Outbox.Pending(ctx, 0, s.cfg.CatchUpRows, s.book.owns); err != nil {
			return false, err
		}
	}
	created := s.Now().Truncate(time.Millisecond)
	bodies, refused, text, err := build(rows, s.series(ctx), created)
	if err != nil {
		return false, err
	}
	if err := s.setAside(ctx, refused, text); err != nil {
		return false, err
	}
	parcels, err := s.record(ctx, bodies, created)
	if err != nil {
		return false, err
	}
	for i, p := range parcels {
		ok, err := s.transmit(ctx, p, bodies[i])
		if err != nil || !ok {
			return false, err
		}
		if more && !s.wait(ctx, s.pace.spent(len(bodies[i].Gzip), time.Now())) {
			return false, nil
		}
	}
	return more, nil
}

// sendAgain ships what a read-back found missing and what could not leave
// before. ok = the server takes requests.
func (s *Shipper) sendAgain(ctx context.Context) (ok bool, err error) {
	now := time.Now()
	for _, p := range s.book.due(store.Requeued, now) {
		if ok, err := s.resend(ctx, p); err != nil || !ok {
			return false, err
		}
	}
	for _, p := range s.book.due(store.Sending, now) {
		if !p.unsent {
			continue // prove asks the server first
		}
		if s.Now().Sub(p.Created) > unsentLimit {
			if err := s.withdraw(ctx, p); err != nil {
				return false, err
			}
			continue
		}
		if p.refused { // a 413, or a 400 of a server that cannot be asked
			if err := s.Outbox.Requeue(ctx, p.Chunk, p.Keys); err != nil {
				return false, err
			}
			if ok, err := s.resend(ctx, p); err != nil || !ok {
				return false, err
			}
			continue
		}
		body, err := s.rebuild(ctx, p)
		if err != nil {
			return false, err
		}
		if body == nil {
			continue
		}
		if ok, err := s.transmit(ctx, p, body); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// resend ships a chunk whose rows were found missing. A chunk that the server
// had answered with a 4xx is halved until the sample it minds is alone.
func (s *Shipper) resend(ctx context.Context, p *parcel) (ok bool, err error) {
	if p.Resends > s.cfg.Verify.MaxResends {
		return true, s.giveUp(ctx, p, "not_stored",
			fmt.Sprintf("answered as accepted %d times and never found there", p.Resends))
	}
	if p.HTTPStatus == 0 {
		p.Created = s.Now().Truncate(time.Millisecond)
		body, err := s.rebuild(ctx, p)
		if err != nil || body == nil {
			return err == nil, err
		}
		p.Bytes, p.Hash = len(body.Gzip), body.Hash
		if err := s.Outbox.RecordSending(ctx, p.Chunk); err != nil {
			return false, err
		}
		return s.transmit(ctx, p, body)
	}
	rows, err := s.Outbox.Rows(ctx, p.Keys)
	if err != nil {
		return false, err
	}
	a, b, halved := chunk.Halve(rows)
	if !halved {
		return true, s.giveUp(ctx, p, "rejected", fmt.Sprintf("HTTP %d: %s", p.HTTPStatus, p.Error))
	}
	// Crash window: between these two steps the rows are plain pending rows, and
	// the search for the bad one begins anew.
	if err := s.withdraw(ctx, p); err != nil {
		return false, err
	}
	created := s.Now().Truncate(time.Millisecond)
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
	for i, p := range parcels {
		if ok, err := s.transmit(ctx, p, bodies[i]); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// giveUp moves the rows of a chunk to the dead letters.
func (s *Shipper) giveUp(ctx context.Context, p *parcel, reason, detail string) error {
	rejected := make([]store.Rejection, len(p.Keys))
	for i, k := range p.Keys {
		rejected[i] = store.Rejection{Key: k, Reason: reason, Detail: detail}
	}
	if err := s.Outbox.MarkUploaded(ctx, p.Chunk, rejected, nil); err != nil {
		return err
	}
	s.book.close(p)
	s.Stats.reject(reason, len(rejected))
	s.Log.Warn("samples moved to the dead letters; 'shipperd deadletter list' shows them",
		"count", len(rejected), "reason", reason, "detail", detail)
	return nil
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
	for i, r := range refused {
		rejected[i] = store.Rejection(r)
		s.Stats.reject(r.Reason, 1)
	}
	return s.Outbox.Bury(ctx, rejected)
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
		parcels[i] = &parcel{Chunk: chunks[i], unsent: true}
		if b.Clamped > 0 {
			s.Stats.clamped(b.Clamped)
			s.Log.Warn("timestamps outside what the server stores were moved to the edge; check the device's clock",
				"count", b.Clamped, logx.KeyBatchID, batch, logx.KeyChunkIndex, i)
		}
	}
	if err := s.Outbox.RecordSending(ctx, chunks...); err != nil {
		return nil, err
	}
	for _, p := range parcels {
		s.book.add(p)
	}
	s.Crash("recorded")
	return parcels, nil
}

// withdraw takes back a chunk of which the server certainly has nothing.
func (s *Shipper) withdraw(ctx context.Context, p *parcel) error {
	if err := s.Outbox.Withdraw(ctx, p.Chunk); err != nil {
		return err
	}
	s.book.close(p)
	return nil
}

// rebuild makes the body of a recorded chunk anew from its rows. nil = the size
// budget has dropped all of them, and the chunk is closed.
func (s *Shipper) rebuild(ctx context.Context, p *parcel) (*chunk.Body, error) {
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

// transmit sends one recorded chunk, with the attempts of one cycle. ok = the
// server answers and takes other chunks, whatever became of this one.
func (s *Shipper) transmit(ctx context.Context, p *parcel, body *chunk.Body) (ok bool, err error) {
	id := fmt.Sprintf("%s/%d", p.BatchID, p.Index)
	for attempt := 1; ; attempt++ {
		s.Beat()
		start := time.Now()
		p.unsent = false // from the first byte on, who knows
		reply, failure := s.importLingering(ctx, body.Gzip, id)
		s.Crash("sent")
		p.Attempts++
		p.Attempted, p.HTTPStatus, p.Error = s.Now(), reply.Status, ""
		s.Stats.attempt(reply, time.Since(start))
		log := s.Log.With(logx.KeyBatchID, p.BatchID, logx.KeyChunkIndex, p.Index, logx.KeyAttempt, attempt,
			logx.KeyHTTPStatus, reply.Status, logx.KeyBytesSent, reply.BytesSent, logx.KeyBytesRcvd, reply.BytesReceived,
			logx.KeyDurationMS, time.Since(start).Milliseconds())
		if failure == nil {
			return true, s.accepted(ctx, p, body, reply, log)
		}
		fault := asError(failure)
		p.HTTPStatus, p.Error = fault.Status, cmp.Or(fault.Body, fault.Error())
		again, wait := s.judge(p, fault, attempt)
		if ctx.Err() != nil {
			log.Info("upload was cut short by the stop; the next start settles it", logx.Err(failure))
			return false, nil
		}
		log.Debug("upload failed", logx.KeyBackoffMS, wait.Milliseconds(), logx.Err(failure))
		if !again {
			return s.failed(p, fault, log), nil
		}
		s.Stats.retry()
		log.Info("upload is tried again", logx.KeyBackoffMS, wait.Milliseconds(), logx.Err(failure))
		if !s.wait(ctx, time.Now().Add(wait)) {
			return false, nil
		}
	}
}

// importLingering sends one request that outlives ctx by stopGrace.
func (s *Shipper) importLingering(ctx context.Context, body []byte, id string) (victoria.Reply, error) {
	request, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		t := time.AfterFunc(stopGrace, cancel)
		context.AfterFunc(request, func() { t.Stop() })
	})()
	return s.Server.Import(request, body, id)
}

// judge decides whether this cycle tries the chunk again and after what wait. It
// also notes in p whether the server may have some of it.
func (s *Shipper) judge(p *parcel, fault *victoria.Error, attempt int) (again bool, wait time.Duration) {
	p.unsent = !fault.Ambiguous
	p.refused = fault.Class == victoria.ClassRejected || fault.Class == victoria.ClassTooLarge
	if fault.Ambiguous && s.proving() {
		return false, 0 // never again before the server was asked
	}
	switch fault.Class {
	case victoria.ClassAuth, victoria.ClassRedirect, victoria.ClassRejected, victoria.ClassTooLarge:
		return false, 0 // the same request would get the same answer
	}
	wait = backoff(s.cfg.Retry, attempt, s.Rand)
	if fault.RetryAfter > 0 {
		wait = fault.RetryAfter
	}
	// A server that asks for more patience than a cycle has gets it from nextCycle.
	return s.cfg.Retry.Enabled && attempt < s.cfg.Retry.MaxAttempts && wait <= max(s.cfg.Retry.MaxBackoff, s.cfg.UploadInterval), wait
}

// failed parks a chunk after the last attempt of a cycle; ok as for transmit.
func (s *Shipper) failed(p *parcel, fault *victoria.Error, log *slog.Logger) (ok bool) {
	now := time.Now()
	p.due = now
	if !p.unsent {
		p.due = now.Add(s.cfg.Verify.Settle)
	}
	s.Stats.failure(fault)
	switch fault.Class {
	case victoria.ClassRejected, victoria.ClassTooLarge:
		// The server is well; it minds something in this body. Halving begins
		// once it is known what it stored of it.
		log.Warn("server refused a chunk; it is halved to find the sample it minds", logx.Err(fault))
		return true
	case victoria.ClassAuth, victoria.ClassRedirect:
		s.notBefore = now.Add(jitter(slowRetry, s.cfg.Retry.JitterPercent, s.Rand))
	default:
		s.lastAway = s.Now()
		if fault.RetryAfter > 0 {
			s.notBefore = now.Add(fault.RetryAfter)
		}
	}
	s.failures++
	s.sendTrouble.Fail(log, slog.LevelWarn, "upload failed, samples stay in the database", fault)
	return false
}

// slowRetry is the pause after an answer that only a person can mend.
const slowRetry = time.Minute

// accepted records a 2xx: all rows, or those that the answer names as taken.
func (s *Shipper) accepted(ctx context.Context, p *parcel, body *chunk.Body, reply victoria.Reply, log *slog.Logger) error {
	rejected, again, err := perLine(body, reply.Details)
	if err != nil {
		// An answer that contradicts itself says nothing: ask what is there.
		p.Error = err.Error()
		s.failed(p, &victoria.Error{Class: victoria.ClassServer, Status: reply.Status, Ambiguous: true, Err: err}, log)
		return nil
	}
	p.Accepted = s.Now()
	if err := s.Outbox.MarkUploaded(ctx, p.Chunk, rejected, again); err != nil {
		return err
	}
	s.Crash("marked")
	if len(rejected)+len(again) > 0 {
		s.Stats.partial()
		log.Warn("server took part of a chunk", "rejected", len(rejected), "again", len(again))
	}
	for _, r := range rejected {
		s.Stats.reject(r.Reason, 1)
	}
	s.Stats.accept(len(p.Keys), s.Now())
	s.acceptedSinceRefusal = true
	log.Debug("chunk uploaded", "count", len(p.Keys))
	if s.failures > 0 {
		s.sendTrouble.Recover(s.Log, "uploads work again")
		s.failures = 0
	}
	if p.State != store.Accepted {
		s.book.close(p) // nothing of it is left to prove
		return nil
	}
	p.due = time.Now().Add(s.cfg.Verify.Delay)
	return nil
}

// perLine turns a server's per-line answer into keys.
func perLine(body *chunk.Body, d *victoria.Details) (rejected []store.Rejection, again store.KeySet, err error) {
	if d == nil {
		return nil, nil, nil // 2xx without details: the chunk
	}
	refusals, err := d.Match(body.Lines(), func(line int) []int64 {
		var ts []int64
		for _, sample := range body.Line(line) {
			ts = append(ts, sample.TimestampMS)
		}
		return ts
	})
	if err != nil {
		return nil, nil, err
	}
	for _, r := range refusals {
		key := body.Line(r.Line)[r.Index].Key
		if r.Retry {
			again = append(again, key)
		} else {
			rejected = append(rejected, store.Rejection{Key: key, Reason: "rejected", Detail: r.Reason})
		}
	}
	slices.Sort(again)
	return rejected, again, nil
}

// asError returns what the edge says of a failure. What is no *victoria.Error
// is treated as the worst of them.
func asError(err error) *victoria.Error {
	if fault, ok := errors.AsType[*victoria.Error](err); ok {
		return fault
	}
	return &victoria.Error{Class: victoria.ClassServer, Ambiguous: true, Err: err}
}
