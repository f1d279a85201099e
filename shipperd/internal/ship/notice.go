package ship

import (
	"log/slog"
	"time"

	"belabox-metrics/shared/logx"
)

// notice is a log line about an event that may repeat with each chunk, such as a sample that
// becomes a dead letter or a timestamp that is clamped. No success ends it, so it counts as over
// when it has not happened for a while.
type notice struct {
	level slog.Level
	msg   string
	over  string // the line at the end
}

var (
	noticeRejected = notice{
		slog.LevelWarn, "samples moved to the dead letters",
		"no more samples moved to the dead letters",
	}
	noticeClamped = notice{
		slog.LevelWarn, "timestamps clamped to what the server stores",
		"no more timestamps clamped",
	}
	noticePartial = notice{
		slog.LevelWarn, "chunk accepted in part", "no more chunks accepted in part",
	}
	noticeRefused = notice{
		slog.LevelWarn, "chunk refused, halved to find the bad sample", "no more chunks refused",
	}
	noticeDropped = notice{
		slog.LevelWarn, "database full, oldest samples dropped undelivered",
		"no more samples dropped",
	}
	noticeUnproven = notice{
		slog.LevelWarn, "database full, accepted samples dropped before they were read back", "no more accepted samples dropped",
	}
	noticeDeadLettersDropped = notice{
		slog.LevelWarn, "database full, dead letters deleted", "no more dead letters deleted",
	}
	noticeRetry = notice{
		slog.LevelInfo, "upload retried", "no more uploads retried",
	}
)

// noticed is the key of a throttle: a notice, with a reason if it has one.
type noticed struct {
	notice
	reason string
}

// notice logs, throttled, an event that concerns n samples or rows; 0 = there is nothing to count.
func (s *Shipper) notice(log *slog.Logger, what notice, reason string, err error, n int, attrs ...any) {
	id := noticed{what, reason}
	t := s.notices[id]
	if t == nil {
		t = logx.NewThrottle(time.Minute, nil)
		s.notices[id] = t
	}
	t.FailN(log, what.level, what.msg, err, n, append(id.attrs(), attrs...)...)
}

func (id noticed) attrs() []any {
	if id.reason == "" {
		return nil
	}
	return []any{"reason", id.reason}
}

// quietAfter is how long an event must not have happened to count as over, if uploads are more
// frequent than that.
const quietAfter = 2 * time.Minute

// quiet ends the notices of events that have not happened for that long.
func (s *Shipper) quiet(after time.Duration) {
	for id, t := range s.notices {
		t.Quiet(s.Log, after, id.over, id.attrs()...)
	}
}
