package ship

import (
	"context"
	"slices"
	"time"

	"belabox-metrics/shared/store"
)

const (
	// budgetEvery is how often the size of the data is checked.
	budgetEvery = time.Minute
	// pruneEvery is how often old rows are deleted: rarely, because each delete writes whole pages.
	pruneEvery = 5 * time.Minute
	// pruneRows is the size of one delete: small, so that the write lock is held
	// for milliseconds on a slow card.
	pruneRows = 5000
)

// maintain deletes proven rows older than the retention, and keeps the data within its budget.
// full means that a transaction failed because the disk is full: then proven rows are deleted
// early, because collectord needs the space.
func (s *Shipper) maintain(ctx context.Context, full bool) error {
	now := time.Now()
	if full || !now.Before(s.budgetAfter) {
		s.budgetAfter = now.Add(budgetEvery)
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
	t, err := s.Outbox.Timeline(ctx)
	if err != nil {
		return err
	}
	at, _ := s.now(t)
	before := at.Add(-s.cfg.Retention)
	for ctx.Err() == nil {
		n, err := s.Outbox.Prune(ctx, before, pruneRows)
		if err != nil {
			return err
		}
		s.Stats.prune(n)
		if n == 0 {
			return nil
		}
		s.Beat()
	}
	return nil
}

// keepBudget deletes what exceeds MaxDataBytes. Rows that were accepted but not proven are
// deleted before those that were never sent. What was never delivered is then lost and counted;
// the oldest rows go first, because newer samples are worth more.
func (s *Shipper) keepBudget(ctx context.Context) error {
	if s.cfg.MaxDataBytes == 0 {
		return nil
	}
	size, err := s.Outbox.DataSize(ctx)
	if s.pressed = err == nil && size > s.cfg.MaxDataBytes && s.provable(); err != nil || size <= s.cfg.MaxDataBytes {
		return err
	}
	enforce := s.Outbox.EnforceBudget
	if s.pressed {
		enforce = s.Outbox.FreeProven
	}
	for ctx.Err() == nil {
		freed, err := enforce(ctx, s.cfg.MaxDataBytes)
		s.Stats.prune(freed.Verified)
		if freed.Unproven > 0 {
			s.Stats.freed(freed.Unproven, s.Now())
			s.notice(s.Log, noticeUnproven, "", nil, freed.Unproven)
			if err := s.closeFreed(ctx); err != nil {
				return err
			}
		}
		if freed.Pending > 0 {
			s.Stats.drop("size", freed.Pending)
			s.notice(s.Log, noticeDropped, "", nil, int(freed.Pending))
		}
		if freed.DeadLetters > 0 {
			s.notice(s.Log, noticeDeadLettersDropped, "", nil, int(freed.DeadLetters))
		}
		if err != nil || !freed.More {
			return err
		}
		s.Beat()
	}
	return nil
}

// provable reports whether accepted rows are about to be read back. Nothing else is dropped
// before that, and they do not wait for each other.
func (s *Shipper) provable() bool {
	return s.cfg.Verify.Enabled && s.sending.failures == 0 && s.reading.fails == 0 &&
		slices.ContainsFunc(s.chunks.all, func(c *inflight) bool {
			return c.state == accepted && time.Since(c.due) < budgetEvery
		})
}

// closeFreed forgets the accepted chunks whose rows the budget has deleted.
func (s *Shipper) closeFreed(ctx context.Context) error {
	left, err := s.Outbox.OpenChunks(ctx)
	if err != nil {
		return err
	}
	inFile := make(map[int64]bool, len(left))
	for _, c := range left {
		inFile[c.ID] = true
	}
	for _, c := range slices.Clone(s.chunks.all) {
		if !inFile[c.ID] {
			s.move(c, evFreed, freed)
		}
	}
	return nil
}
