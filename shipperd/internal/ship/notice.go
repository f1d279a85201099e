package ship

import (
	"log/slog"
	"time"

	"belabox-metrics/shared/logx"
)

// notice is a line about something that happens, and may happen again with each chunk:
// a sample that is given up, a timestamp that is moved. It is no state that ends with a
// success, so it is over when it has not happened for a while.
type notice struct {
	level slog.Level
	msg   string
	over  string // the line at the end
}

var (
	noticeBuried = notice{
		slog.LevelWarn, "samples moved to the dead letters; 'belabox-shipperd deadletter list' shows them",
		"no further samples went to the dead letters",
	}
	noticeClamped = notice{
		slog.LevelWarn, "timestamps outside what the server stores were moved to the edge; check the device's clock",
		"no further timestamps had to be moved",
	}
	noticePartial = notice{
		slog.LevelWarn, "server took part of a chunk", "no further chunk was taken in part",
	}
	noticeRefused = notice{
		slog.LevelWarn, "server refused a chunk; it is halved to find the sample that it minds", "no further chunk was refused",
	}
	noticeDropped = notice{
		slog.LevelWarn, "the database is full: the oldest samples were dropped undelivered; raise storage.max_size_mb or see why they cannot be delivered",
		"no further samples had to be dropped",
	}
	noticeLettersDropped = notice{
		slog.LevelWarn, "the database is full: dead letters were deleted", "no further dead letters had to be deleted",
	}
	noticeRetry = notice{
		slog.LevelInfo, "upload is tried again", "no further upload had to be tried again",
	}
)

// noticed is what is throttled by itself: a notice, and one with a reason for each of them.
type noticed struct {
	notice
	reason string
}

// notice logs, throttled, that it happened to n things; 0 = there is nothing to count.
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

// quietAfter is how long something has not happened that is over, where uploads are
// more frequent than that.
const quietAfter = 2 * time.Minute

// quiet ends the notices of what has not happened for that long.
func (s *Shipper) quiet(after time.Duration) {
	for id, t := range s.notices {
		t.Quiet(s.Log, after, id.over, id.attrs()...)
	}
}
