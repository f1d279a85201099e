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
// the server, wholly or in part, so it is asked. When the attempts ended is not
// asked of the clock, which may have been anything before the restart: they ended
// before now, so Settle from now is long enough to believe an absence, for
// accepted chunks too.
func (s *Shipper) load(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	chunks, err := s.Outbox.OpenChunks(ctx)
	if err != nil {
		return err
	}
	s.book = book{}
	now := time.Now()
	for _, c := range chunks {
		p := newParcel(c)
		p.due = now
		switch c.State {
		case store.Requeued:
			if p.refused = c.HTTPStatus != 0; p.refused { // see store.Requeued
				p.accused = now
			}
		case store.Accepted:
			p.pack()
			fallthrough
		default:
			p.due = now.Add(s.cfg.Verify.Settle)
		}
		s.book.add(p)
	}
	if len(chunks) > 0 {
		level := slog.LevelInfo
		if s.resumed {
			level = slog.LevelDebug // after each trouble with the file, which has its own lines
		}
		s.Log.Log(ctx, level, "taking up open chunks", "chunks", len(chunks))
	}
	s.loaded, s.resumed = true, true
	return nil
}

// storeTrouble keeps the daemon alive through what passes: a full or failing
// disk, a busy or read-only file. Nothing is lost meanwhile: what the server took
// and could not be marked is asked for. A damaged file is no matter of waiting.
func (s *Shipper) storeTrouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, store.ErrDamaged) {
		return err
	}
	s.storeLog.Fail(s.Log, slog.LevelError, "database cannot be used, delivery waits", err)
	s.Stats.failure(err)
	s.Stats.store(err, s.Now())
	s.fault(err)
	// What the book says may be ahead of the file: it is read again.
	s.book, s.unmarked, s.loaded = book{}, nil, false
	s.nextBatch = s.afterInterval()
	return nil
}

func isFull(err error) bool { return errors.Is(err, store.ErrFull) }
