package ship

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"belabox-metrics/shared/store"
)

// load takes up the chunks that an earlier run left open, or that the file has
// after a transaction failed. Crash window: one that is Sending may have reached
// the server, wholly or in part, so it is in doubt. The stored times do not say when
// the attempts ended, since the clock may have been wrong before the restart: they
// ended before now, so Settle from now is long enough, for accepted chunks too.
func (s *Shipper) load(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	if !s.resumed {
		if err := s.mend(ctx); err != nil {
			return err
		}
	}
	chunks, err := s.Outbox.OpenChunks(ctx)
	if err != nil {
		return err
	}
	t, err := s.Outbox.Timeline(ctx)
	if err != nil {
		return err
	}
	s.chunks, s.times = inflights{}, t
	now := time.Now()
	for _, file := range chunks {
		c := newInflight(file, t)
		c.attempt, c.due = earlier, now.Add(s.cfg.Verify.Settle)
		to := inFile(file)
		if to == owed {
			c.due = now
			if c.suspicion.refused = c.HTTPStatus != 0; c.suspicion.refused { // see store.Requeued
				c.suspicion.since = now
			}
		}
		c.pack()
		s.move(c, evStart, to)
	}
	if len(chunks) > 0 {
		level := slog.LevelInfo
		if s.resumed {
			level = slog.LevelDebug // errors of the store have their own lines
		}
		s.Log.Log(ctx, level, "in-flight chunks resumed", "chunks", len(chunks))
	}
	s.loaded, s.resumed = true, true
	return nil
}

// mend removes invalid records of chunks. Their rows are then in doubt.
func (s *Shipper) mend(ctx context.Context) error {
	bad, err := s.Outbox.Mend(ctx)
	if bad > 0 {
		s.Log.Warn("records of chunks damaged, their samples are read back first", "chunks", bad)
	}
	return err
}

// storeTrouble keeps the daemon running during errors that can end by themselves: a full or
// failing disk, a busy or read-only file. Nothing is lost meanwhile: what was accepted and could
// not be marked is read back. A damaged part is repaired at once. If it returns an error, that is
// one of the file, which waiting does not repair.
func (s *Shipper) storeTrouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if store.ClassOf(err) == store.OfPart {
		err = s.mend(ctx)
	}
	if err = s.Outbox.Met(err); store.ClassOf(err) == store.OfFile {
		return err
	}
	// What is in memory may be ahead of the file, which is read again.
	s.chunks, s.unmarked, s.loaded = inflights{}, nil, false
	if err == nil {
		return nil
	}
	s.nextBatch = s.afterInterval()
	s.storeLog.Fail(s.Log, slog.LevelError, "database unusable, delivery waits", err, "next_try", s.Now().Add(time.Until(s.nextBatch)).UTC())
	s.Stats.failure(err)
	s.Stats.store(err, s.Now())
	s.fault(err)
	return nil
}

func isFull(err error) bool { return errors.Is(err, store.ErrFull) }
