package ship

import (
	"context"
	"time"

	"belabox-metrics/shared/store"
)

const (
	// houseEvery is how often the size of the data is looked at.
	houseEvery = time.Minute
	// pruneEvery is how often old rows are looked for: seldom, because each delete
	// writes whole pages.
	pruneEvery = 5 * time.Minute
	// pruneRows is the size of one delete: small, so that the write lock is held
	// for milliseconds on a slow card.
	pruneRows = 5000
)

// keepHouse deletes proven rows older than the retention, and keeps the data
// within its budget. full means that the disk had no room for a transaction:
// then proven rows go before their time, as collectord needs their place.
func (s *Shipper) keepHouse(ctx context.Context, full bool) error {
	now := time.Now()
	if full || !now.Before(s.houseAfter) {
		s.houseAfter = now.Add(houseEvery)
		if err := s.keepBudget(ctx); err != nil {
			return err
		}
	}
	if full {
		n, err := s.Outbox.Prune(ctx, time.UnixMilli(store.MaxTimestampMS), pruneRows)
		s.Stats.prune(n)
		return err
	}
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

// keepBudget deletes what is above MaxDataBytes. What was never delivered is lost
// then, and counted: newer samples are worth more than the oldest.
func (s *Shipper) keepBudget(ctx context.Context) error {
	if s.cfg.MaxDataBytes == 0 {
		return nil
	}
	for ctx.Err() == nil {
		freed, err := s.Outbox.EnforceBudget(ctx, s.cfg.MaxDataBytes)
		s.Stats.prune(freed.Verified)
		if freed.Pending > 0 {
			s.Stats.drop("size", freed.Pending)
			s.notice(s.Log, noticeDropped, "", nil, int(freed.Pending))
		}
		if freed.DeadLetters > 0 {
			s.notice(s.Log, noticeLettersDropped, "", nil, int(freed.DeadLetters))
		}
		if err != nil || !freed.More {
			return err
		}
		s.Beat()
	}
	return nil
}
