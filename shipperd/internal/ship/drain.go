package ship

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"belabox-metrics/shared/store"
)

// giveUpAfter is how many rounds may fail in a row, with nothing accepted and
// nothing proven, before Drain ends.
const giveUpAfter = 3

// drain is what Drain needs beside the loop.
type drain struct {
	horizon store.Key // rows beyond it came after the start, since collectord may be running
	owed    bool      // pending rows are left, as far as the last cycle saw
}

func (s *Shipper) newDrain(ctx context.Context) (*drain, error) {
	last, err := s.Outbox.LastKey(ctx)
	if err != nil {
		return nil, err
	}
	return &drain{horizon: last}, nil
}

// cut leaves out the rows beyond the horizon.
func (d *drain) cut(rows []store.Row) []store.Row {
	rows = rows[:before(rows, d.horizon+1)]
	d.owed = len(rows) > 0
	return rows
}

// Drain delivers everything that is in the file now and proves it. It reports progress after each
// cycle. It ends with an error that says what is left if ctx ends, or if the server accepts and
// proves nothing in several rounds.
func (s *Shipper) Drain(ctx context.Context, progress func(Counts)) error {
	defer s.quiet(0) // log the notices that are not over
	var err error
	if s.drain, err = s.newDrain(ctx); err != nil {
		return err
	}
	for failed := 0; failed < giveUpAfter; {
		before, faults, looks := s.Stats.Snapshot(), s.faults, s.reading.looks
		s.drain.owed = true
		more, err := s.cycle(ctx)
		if err != nil {
			return err
		}
		after := s.Stats.Snapshot()
		progress(after)
		switch {
		case !s.drain.owed && s.loaded && len(s.chunks.all) == 0:
			return nil
		case after.settled() > before.settled():
			failed = 0
		case !s.drain.owed && s.reading.looks > looks && !slices.ContainsFunc(s.chunks.all, func(c *inflight) bool { return c.state != unseen }):
			s.notVisible()
			failed++
		case s.faults > faults:
			failed++
		}
		if !more && !s.wait(ctx, time.Now().Add(time.Second)) {
			return ctx.Err()
		}
	}
	return s.unfinished(ctx)
}

// unfinished says what is left.
func (s *Shipper) unfinished(ctx context.Context) error {
	l, err := s.Outbox.Ledger(ctx)
	if err != nil {
		return err
	}
	return fmt.Errorf("gave up after %d rounds without progress: %d samples are pending, %d of them in doubt, and %d accepted but not proven: %w",
		giveUpAfter, l.Pending, s.inDoubt(), l.Accepted, s.lastFault)
}

// notVisible notes that the server shows none of what is left. An earlier error stays in the
// error.
func (s *Shipper) notVisible() {
	switch {
	case s.lastFault == nil:
		s.fault(errNotVisible)
	case errors.Is(s.lastFault, errNotVisible):
		s.faults++
	default:
		s.fault(fmt.Errorf("%w; before that: %w", errNotVisible, s.lastFault))
	}
}

// inDoubt is how many pending rows the server may have.
func (s *Shipper) inDoubt() (rows int) {
	for _, c := range s.chunks.all {
		if !c.uploaded() && !c.toSend() {
			rows += c.n
		}
	}
	return rows
}
