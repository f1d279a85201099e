package ship

import (
	"context"
	"log/slog"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
)

// The effects of the link budget (docs/decisions/0018-budget.md). A drain, for which somebody
// waits, is not slowed down.

// pastSpeed is the least speed at which the backlog is sent, as a multiple of the speed at which
// it was sampled: pacing must never keep a backlog from shrinking.
const pastSpeed = 10

// economise notes how much to save from now on.
func (s *Shipper) economise(ctx context.Context) {
	was := s.thrift
	if s.drain == nil {
		s.thrift = s.Thrift(ctx)
	}
	if paced, longer := s.thrift.Pace > 0, s.thrift.Stretch > 1; paced != (was.Pace > 0) || longer != (was.Stretch > 1) {
		s.Log.Log(ctx, slog.LevelInfo, "pacing for the link budget changed", "past_paced", paced, "upload_interval_seconds", s.interval().Seconds())
	}
}

// interval is the time between two uploads.
func (s *Shipper) interval() time.Duration { return max(s.cfg.UploadInterval, s.thrift.Interval) }

// stretch is how many times the configured interval that is.
func (s *Shipper) stretch() float64 { return max(1, s.thrift.Stretch) }

// batchSize is how many rows one upload has. More are a backlog.
func (s *Shipper) batchSize() int { return int(float64(s.cfg.BatchSize) * s.stretch()) }

// paced returns as many rows of a backlog, from the first one on, as may be sent in one interval.
// The pause between two bodies is then no longer than that, and the health rules see uploads.
func (s *Shipper) paced(rows []store.Row) []store.Row {
	if s.thrift.Pace == 0 {
		return rows
	}
	span := pastSpeed * float64(s.interval().Milliseconds()) / s.thrift.Pace
	return rows[:max(1, before(rows, store.PackKey(rows[0].Key.TimestampMS()+int64(min(span, 1e12)), 0)))]
}

// rested returns when the next body of a backlog may be sent: an interval after this one at most,
// because with oldest_first the present waits, too. There is no pause while the file fills up,
// because no sample may be dropped for the budget.
func (s *Shipper) rested(ctx context.Context, body *chunk.Body) time.Time {
	now := time.Now()
	if s.thrift.Pace == 0 {
		return now
	}
	if size, err := s.Outbox.DataSize(ctx); err != nil || s.cfg.MaxDataBytes > 0 && size > s.cfg.MaxDataBytes/2 {
		return now
	}
	from, to := body.Range()
	rest := time.Duration(s.thrift.Pace * float64(to-from) / pastSpeed * float64(time.Millisecond))
	return now.Add(min(rest, s.interval()))
}
