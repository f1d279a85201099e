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
// it in one transaction. A kill meanwhile costs no more than a read-back.
const markAfter = 2 * time.Second

// accept records a 2xx: for all rows, or for those that the answer names as taken.
func (s *Shipper) accept(ctx context.Context, c *inflight, body *chunk.Body, reply victoria.Reply, log *slog.Logger) error {
	refused, again, err := perLine(body, reply.Details)
	if err != nil {
		// An answer that contradicts itself proves nothing.
		c.Error = err.Error()
		s.move(c, evUnknown, inDoubt)
		s.failed(c, &victoria.Error{Class: victoria.ClassServer, Status: reply.Status, Ambiguous: true, Err: err}, log)
		return nil
	}
	c.Accepted = s.Now()
	c.suspicion = suspicion{since: c.suspicion.since, last: c.suspicion.last, strikes: c.suspicion.strikes}
	s.serverAnswered()
	s.sending.lastAccepted, s.sending.refusals = c.tried, 0
	s.size.accepted(c.n, s.cfg.CatchUpRows, c.tried)
	log = log.With(logx.KeyBackoffMS, 0)
	log.Debug("chunk uploaded", logx.KeyCount, c.n)
	if s.sending.failures > 0 {
		s.sending.log.Recover(s.Log, "uploads work again")
		s.sending.failures = 0
	}
	if len(refused)+len(again) == 0 {
		s.unmarked = append(s.unmarked, c)
		if s.unmarked[0].tried.Add(markAfter).Before(c.tried) {
			return s.flush(ctx)
		}
		return nil
	}
	return s.acceptInPart(ctx, c, refused, again, log)
}

// flush marks the chunks that were answered 2xx. It does so also when ctx has
// ended: what is known now need not be read back later.
func (s *Shipper) flush(ctx context.Context) error {
	if len(s.unmarked) == 0 {
		return nil
	}
	all := s.unmarked
	s.unmarked = nil
	chunks := make([]*store.Chunk, len(all))
	for i, c := range all {
		chunks[i] = c.Chunk
	}
	if err := s.Outbox.MarkAllUploaded(context.WithoutCancel(ctx), chunks...); err != nil {
		return err
	}
	s.Crash("marked")
	for _, c := range all {
		s.accepted(c)
	}
	return nil
}

// accepted follows the mark: the chunk is read back after the delay.
func (s *Shipper) accepted(c *inflight) {
	s.Stats.accept(c.n, c.Accepted)
	c.due = c.tried.Add(s.cfg.Verify.Delay)
	c.pack()
	s.move(c, evTaken, accepted)
}

func (s *Shipper) acceptInPart(ctx context.Context, c *inflight, refused []store.Rejection, again store.KeySet, log *slog.Logger) error {
	if err := s.Outbox.MarkUploaded(context.WithoutCancel(ctx), c.Chunk, refused, again); err != nil {
		return err
	}
	s.Crash("marked")
	s.notice(log, noticePartial, "", nil, 0, "rejected", len(refused), "again", len(again))
	s.Stats.partial()
	byReason := map[string][]store.Rejection{}
	for _, r := range refused {
		byReason[r.Reason] = append(byReason[r.Reason], r)
	}
	for reason, of := range byReason {
		s.rejected(len(of), reason, of[0].Detail)
	}
	c.measure()
	if !c.uploaded() {
		s.move(c, evRefused, rejected) // nothing of it is left to prove
		return nil
	}
	s.accepted(c)
	return nil
}

// perLine turns a server's per-line answer into keys.
func perLine(body *chunk.Body, d *victoria.Details) (refused []store.Rejection, again store.KeySet, err error) {
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
			refused = append(refused, store.Rejection{Key: key, Reason: "rejected", Detail: r.Reason})
		}
	}
	slices.Sort(again)
	return refused, again, nil
}

// giveUp moves the rows of a chunk to the dead letters.
func (s *Shipper) giveUp(ctx context.Context, c *inflight, on event, reason, detail string) error {
	if err := c.unpack(); err != nil {
		return err
	}
	refused := make([]store.Rejection, len(c.Keys))
	for i, k := range c.Keys {
		refused[i] = store.Rejection{Key: k, Reason: reason, Detail: detail}
	}
	if err := s.Outbox.MarkUploaded(ctx, c.Chunk, refused, nil); err != nil {
		return err
	}
	s.move(c, on, rejected)
	s.rejected(len(refused), reason, detail)
	return nil
}

// verdict is what the server said of a sample that it refused.
func verdict(c *inflight) string {
	return fmt.Sprintf("HTTP %d: %s", cmp.Or(c.HTTPStatus, c.status), c.Error)
}
