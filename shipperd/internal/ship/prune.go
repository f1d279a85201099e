package ship

import (
	"context"
	"time"
)

const (
	// pruneEvery bounds how often old rows are looked for.
	pruneEvery = time.Minute
	// pruneRows is the size of one delete: small, so that the write lock is held
	// for milliseconds on a slow card.
	pruneRows = 5000
)

// prune deletes proven rows older than the retention, a few transactions a
// minute: never more than was proven, whatever the clock says.
func (s *Shipper) prune(ctx context.Context) error {
	now := time.Now()
	if now.Before(s.pruneAfter) {
		return nil
	}
	s.pruneAfter = now.Add(pruneEvery)
	before := s.Now().Add(-s.cfg.Retention)
	for ctx.Err() == nil {
		n, err := s.Outbox.Prune(ctx, before, pruneRows)
		if err != nil {
			return err
		}
		s.Stats.prune(n)
		if n < pruneRows {
			return nil
		}
		s.Beat()
	}
	return nil
}
