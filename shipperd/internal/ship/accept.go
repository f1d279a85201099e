package ship

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// markAfter is how long an answered chunk may wait until it is marked together with others in one
// transaction. A kill meanwhile costs only a read-back.
const markAfter = 2 * time.Second

// accept records a 2xx for each chunk of a request: for all rows, or for those that the answer
// names as accepted.
func (s *Shipper) accept(ctx context.Context, req *chunk.Request, chunks []*inflight, reply victoria.Reply, log *slog.Logger) error {
	verdicts, err := perLine(req, reply.Details)
	if err != nil {
		// An answer that contradicts itself proves nothing.
		for _, c := range chunks {
			c.Error = err.Error()
			s.move(c, evUnknown, inDoubt)
		}
		s.failed(chunks, &victoria.Error{Class: victoria.ClassServer, Status: reply.Status, Ambiguous: true, Err: err}, log)
		return nil
	}
	ended := chunks[0].tried
	s.serverAnswered()
	s.sending.lastAccepted, s.sending.refusals = ended, 0
	s.size.accepted(req.Rows(), s.cfg.CatchUpRows, ended)
	log = log.With(logx.KeyBackoffMS, 0)
	log.Debug("chunk uploaded", logx.KeyCount, req.Rows())
	if s.sending.failures > 0 {
		s.sending.log.Recover(s.Log, "uploads work again")
		s.sending.failures = 0
	}
	at, _ := s.now(s.times) // what stays in the file must not depend on this boot's clock
	for i, c := range chunks {
		c.Accepted = at
		c.suspicion = suspicion{since: c.suspicion.since, last: c.suspicion.last, strikes: c.suspicion.strikes}
		v := verdicts[req.Bodies[i]]
		if v == nil {
			s.unmarked = append(s.unmarked, c)
		} else if err := s.acceptInPart(ctx, c, v, log); err != nil {
			return err
		}
	}
	if len(s.unmarked) > 0 && s.unmarked[0].tried.Add(markAfter).Before(ended) {
		return s.flush(ctx)
	}
	return nil
}

// flush marks the chunks that were answered 2xx, even after ctx has ended: what is marked now
// need not be read back at the next start.
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
	s.Stats.accept(c.n, c.how, s.Now())
	c.due = c.tried.Add(s.cfg.Verify.Delay)
	c.pack()
	s.move(c, evTaken, accepted)
}

func (s *Shipper) acceptInPart(ctx context.Context, c *inflight, v *notTaken, log *slog.Logger) error {
	if err := s.Outbox.MarkUploaded(context.WithoutCancel(ctx), c.Chunk, v.refused, v.again.Sorted()); err != nil {
		return err
	}
	s.Crash("marked")
	s.notice(log, noticePartial, "", nil, 0, "rejected", len(v.refused), "again", len(v.again))
	s.Stats.partial()
	byReason := map[string][]store.Rejection{}
	for _, r := range v.refused {
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

// notTaken are the rows of a chunk that a per-line answer does not accept.
type notTaken struct {
	refused []store.Rejection
	again   store.KeySet // the server may take them another time
}

// perLine turns a server's per-line answer into keys; bodies that were accepted as a whole are
// left out.
func perLine(req *chunk.Request, d *victoria.Details) (map[*chunk.Body]*notTaken, error) {
	if d == nil {
		return nil, nil // 2xx without details: all chunks
	}
	refusals, err := d.Match(req.Lines(), func(line int) []int64 {
		var ts []int64
		body, n := req.Line(line)
		for _, sample := range body.Line(n) {
			ts = append(ts, sample.TimestampMS)
		}
		return ts
	})
	if err != nil {
		return nil, err
	}
	verdicts := map[*chunk.Body]*notTaken{}
	for _, r := range refusals {
		body, n := req.Line(r.Line)
		v := verdicts[body]
		if v == nil {
			v = &notTaken{}
			verdicts[body] = v
		}
		key := body.Line(n)[r.Index].Key
		if r.Retry {
			v.again = append(v.again, key)
		} else {
			v.refused = append(v.refused, store.Rejection{Key: key, Reason: "rejected", Detail: r.Reason})
		}
	}
	return verdicts, nil
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

// verdict is what the server said about a sample that it refused.
func verdict(c *inflight) string {
	return fmt.Sprintf("HTTP %d: %s", cmp.Or(c.HTTPStatus, c.status), c.Error)
}
