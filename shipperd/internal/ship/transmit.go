package ship

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// stopGrace is how long a request in flight may continue after SIGTERM: a reply
// in that time saves the next start a read-back.
const stopGrace = 3 * time.Second

// sender is what is known of the server from imports.
type sender struct {
	failures     int       // cycles that ended with a failure, in a row
	lastAccepted time.Time // when it last answered 2xx
	refusals     int       // 4xx to bodies since then, see refusals.go
	refusedRows  int       // in the last of them
	probes       int       // cycles while it refused everything
	hangups      int       // proved chunks in a row whose connection was closed soon after the 2xx
	lastAway     time.Time // when it last did not answer, or failed
	log          *logx.Throttle
}

// transmit sends a request with recorded chunks, one for each of its bodies, with the attempts of
// one cycle. They share the attempt number and the answer; the consequences are recorded for each
// separately. ok = the server answers and takes other requests, whatever happened to this one.
func (s *Shipper) transmit(ctx context.Context, req *chunk.Request, chunks ...*inflight) (ok bool, err error) {
	first, last := chunks[0], chunks[len(chunks)-1]
	id := fmt.Sprintf("%s/%d", first.BatchID, first.Index)
	if last != first {
		id += fmt.Sprintf("-%d", last.Index)
	}
	for attempt := 1; ; attempt++ {
		s.Beat()
		start := time.Now()
		number := s.order.next()
		for i, c := range chunks {
			s.move(c, evSend, sending)
			s.order.send(req.Bodies[i].Keys)
			c.attempt, c.answered, c.shared = number, false, len(chunks) > 1
		}
		reply, failure := s.importLingering(ctx, req.Gzip, id)
		s.Crash("sent")
		ended, took := time.Now(), time.Since(start)
		for _, c := range chunks {
			c.tried = ended
			c.Attempts++
			c.Attempted, c.HTTPStatus, c.Error = s.Now(), reply.Status, ""
		}
		s.Stats.attempt(reply.BytesSent)
		s.Took(took)
		log := s.Log.With(logx.KeyBatchID, first.BatchID, logx.KeyChunkIndex, first.Index, "chunks", len(chunks), logx.KeyAttempt, attempt,
			logx.KeyHTTPStatus, reply.Status, logx.KeyBytesSent, reply.BytesSent, logx.KeyBytesRcvd, reply.BytesReceived,
			logx.KeyDurationMS, took.Milliseconds())
		if failure == nil && !s.cfg.Verify.Enabled && !reply.Own {
			failure = notOwn(reply.Status)
		}
		if failure == nil {
			return true, s.accept(ctx, req, chunks, reply, log)
		}
		fault := asError(failure)
		for _, c := range chunks {
			s.noteFault(c, fault)
		}
		again, wait := s.again(fault, attempt)
		if ctx.Err() != nil {
			log.Info("upload interrupted by the stop, the next start verifies it", logx.Err(failure))
			return false, nil
		}
		if !again {
			return s.failed(chunks, fault, log), nil
		}
		for _, c := range chunks {
			if c.state == inDoubt {
				s.move(c, evAssumed, recorded) // at least once: nothing is read back
			}
		}
		if s.sending.failures > 0 { // an outage is logged once a minute
			log.Debug(noticeRetry.msg, logx.KeyBackoffMS, wait.Milliseconds(), logx.Err(failure))
		} else {
			s.notice(log, noticeRetry, "", failure, 0, logx.KeyBackoffMS, wait.Milliseconds())
		}
		if !s.wait(ctx, time.Now().Add(wait)) {
			return false, nil
		}
	}
}

// notOwn is the failure for a 2xx that may not come from the server, if nothing is read back: a
// login page answers 2xx to every POST.
func notOwn(status int) error {
	return &victoria.Error{
		Class: victoria.ClassStranger, Status: status, Ambiguous: true,
		Err: errors.New("the answer does not show that it is VictoriaMetrics', and remote.verify.enabled is false: nothing counts as delivered"),
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

// noteFault notes how the request of a chunk failed, and whether the server may have some of it.
// A 413 to several chunks says nothing about one of them.
func (s *Shipper) noteFault(c *inflight, fault *victoria.Error) {
	c.status = fault.Status
	c.HTTPStatus, c.Error = fault.Status, cmp.Or(fault.Body, fault.Error())
	c.suspicion.refused = fault.Class == victoria.ClassRejected || fault.Class == victoria.ClassTooLarge && !c.shared
	c.suspicion.failed = false
	if fault.Ambiguous {
		s.move(c, evUnknown, inDoubt)
	} else {
		s.move(c, evNothing, recorded)
	}
}

// again decides whether this cycle sends the request again, and how long it waits before that.
func (s *Shipper) again(fault *victoria.Error, attempt int) (again bool, wait time.Duration) {
	switch fault.Class {
	case victoria.ClassAuth, victoria.ClassRedirect, victoria.ClassStranger, victoria.ClassRejected, victoria.ClassTooLarge:
		return false, 0 // the same request would get the same answer
	}
	if fault.Ambiguous && s.cfg.Verify.Enabled {
		return false, 0 // never again before the server has shown what it has
	}
	wait = backoff(s.cfg.Retry, attempt, s.Rand)
	if fault.RetryAfter > 0 {
		wait = beyond(fault.RetryAfter, s.cfg.Retry.JitterPercent, s.Rand)
	}
	// A wait that is longer than a cycle is made by notBefore.
	again = s.cfg.Retry.Enabled && attempt < s.cfg.Retry.MaxAttempts && wait <= max(s.cfg.Retry.MaxBackoff, s.interval())
	return again, wait
}

// failed parks the chunks of a request after the last attempt of a cycle; ok as for transmit.
func (s *Shipper) failed(chunks []*inflight, fault *victoria.Error, log *slog.Logger) (ok bool) {
	now := time.Now()
	for _, c := range chunks {
		c.due = now
		if c.state == inDoubt {
			c.due = now.Add(s.cfg.Verify.Settle)
		}
	}
	s.Stats.failure(fault)
	switch fault.Class {
	case victoria.ClassRejected, victoria.ClassTooLarge:
		return s.refused(chunks, fault, log)
	case victoria.ClassAuth, victoria.ClassRedirect, victoria.ClassStranger:
		s.pause(s.longPause())
	default:
		s.sending.lastAway = now
		switch {
		case !fault.Ambiguous:
		case fault.Class == victoria.ClassNetwork, fault.Class == victoria.ClassTimeout:
			s.broke(chunks)
		case fault.Class == victoria.ClassServer:
			for _, c := range chunks {
				s.doubt(c)
			}
		}
		if fault.RetryAfter > 0 {
			s.pause(beyond(fault.RetryAfter, s.cfg.Retry.JitterPercent, s.Rand))
		}
	}
	s.stalled(log, fault)
	return false
}

// away notes that the server did not answer a request without chunks.
func (s *Shipper) away(err error) {
	s.sending.lastAway = time.Now()
	s.Stats.failure(err)
	s.stalled(s.Log, err)
}

// stalled notes a cycle that ends because the server accepts nothing. The next
// cycles are less frequent: each of them costs a synced transaction.
func (s *Shipper) stalled(log *slog.Logger, err error) {
	s.sending.failures++
	s.pause(jitter(s.slower(), s.cfg.Retry.JitterPercent, s.Rand))
	s.fault(err)
	s.sending.log.Fail(log, slog.LevelWarn, "upload failed, samples stay in the database", err,
		logx.KeyBackoffMS, time.Until(s.notBefore).Milliseconds())
}

// slower is the time to the next cycle after failed ones: up to four intervals, but at most two
// minutes unless one interval is longer; always one interval with newest_first.
func (s *Shipper) slower() time.Duration {
	interval := s.interval()
	switch {
	case s.drain != nil:
		return 2 * time.Second
	case s.newestFirst():
		return interval
	}
	return min(interval*time.Duration(min(s.sending.failures, 4)), max(interval, 2*time.Minute))
}

func (s *Shipper) pause(d time.Duration) { s.notBefore = later(s.notBefore, time.Now().Add(d)) }

// longPause is the pause after an answer that needs an operator, or another chunk
// to compare with. Drain waits for it.
func (s *Shipper) longPause() time.Duration {
	d := time.Minute
	if s.drain != nil {
		d = 5 * time.Second
	}
	return jitter(d, s.cfg.Retry.JitterPercent, s.Rand)
}
