package ship

import (
	"cmp"
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

// markAfter is how long an answered chunk may wait for others to be marked with
// it in one transaction. A kill meanwhile costs no more than a question.
const markAfter = 2 * time.Second

// accepted takes note of a 2xx: all rows, or those that the answer names as
// taken.
func (s *Shipper) accepted(ctx context.Context, p *parcel, body *chunk.Body, reply victoria.Reply, log *slog.Logger) error {
	rejected, again, err := perLine(body, reply.Details)
	if err != nil {
		// An answer that contradicts itself says nothing: ask what is there.
		p.Error = err.Error()
		s.failed(p, &victoria.Error{Class: victoria.ClassServer, Status: reply.Status, Ambiguous: true, Err: err}, log)
		return nil
	}
	p.Accepted = s.Now()
	p.refused, p.failed, p.breaks, p.doubts = false, false, 0, 0
	s.hear()
	s.sending.lastAccepted, s.sending.refusals = p.tried, 0
	s.size.accepted(p.n, s.cfg.CatchUpRows, p.tried)
	log = log.With(logx.KeyBackoffMS, 0)
	log.Debug("chunk uploaded", logx.KeyCount, p.n)
	if s.sending.failures > 0 {
		s.sending.log.Recover(s.Log, "uploads work again")
		s.sending.failures = 0
	}
	if len(rejected)+len(again) == 0 {
		s.unmarked = append(s.unmarked, p)
		if s.unmarked[0].tried.Add(markAfter).Before(p.tried) {
			return s.flush(ctx)
		}
		return nil
	}
	return s.acceptedInPart(ctx, p, rejected, again, log)
}

// flush marks the chunks that were answered 2xx. It does so also when ctx has
// ended: what is known now need not be asked later.
func (s *Shipper) flush(ctx context.Context) error {
	if len(s.unmarked) == 0 {
		return nil
	}
	parcels := s.unmarked
	s.unmarked = nil
	chunks := make([]*store.Chunk, len(parcels))
	for i, p := range parcels {
		chunks[i] = p.Chunk
	}
	if err := s.Outbox.MarkAllUploaded(context.WithoutCancel(ctx), chunks...); err != nil {
		return err
	}
	s.Crash("marked")
	for _, p := range parcels {
		s.Stats.accept(p.n, p.Accepted)
		p.due = p.tried.Add(s.cfg.Verify.Delay)
		p.pack()
	}
	return nil
}

func (s *Shipper) acceptedInPart(ctx context.Context, p *parcel, rejected []store.Rejection, again store.KeySet, log *slog.Logger) error {
	if err := s.Outbox.MarkUploaded(context.WithoutCancel(ctx), p.Chunk, rejected, again); err != nil {
		return err
	}
	s.Crash("marked")
	s.notice(log, noticePartial, "", nil, 0, "rejected", len(rejected), "again", len(again))
	s.Stats.partial()
	byReason := map[string][]store.Rejection{}
	for _, r := range rejected {
		byReason[r.Reason] = append(byReason[r.Reason], r)
	}
	for reason, of := range byReason {
		s.buried(len(of), reason, of[0].Detail)
	}
	p.measure()
	s.Stats.accept(p.n, p.Accepted)
	if p.State != store.Accepted {
		s.book.close(p) // nothing of it is left to prove
		return nil
	}
	p.due = p.tried.Add(s.cfg.Verify.Delay)
	p.pack()
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
	s.buried(len(rejected), reason, detail)
	return nil
}

// verdict is what the server said of a sample that it refused.
func verdict(p *parcel) string {
	return fmt.Sprintf("HTTP %d: %s", cmp.Or(p.HTTPStatus, p.answered), p.Error)
}
