package logx

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// newTexts is how many different errors of one outage get a line of their own before their time has
// come. Errors that carry a port or a counter differ each time; without a limit they would go round
// the throttle.
const newTexts = 4

// Throttle logs a failure that repeats: a line when it begins, at most one each interval while it
// lasts, and one when it is over. One Throttle serves one thing that can fail; an outage is the
// time from its first Fail to the next Recover. All methods may be called by any goroutine.
//
// An outage that begins within the interval after the last line about a failure stays silent until
// the interval is over, unless its error is a new one: what flaps every second costs two lines a
// minute as well.
type Throttle struct {
	every time.Duration
	now   func() time.Time

	mu            sync.Mutex
	first         time.Time // first failure of the outage
	latest        time.Time // and the last one
	failures      int       // in the outage
	items         int       // what the failures of the outage were of, see FailN
	unlogged      int       // failures since the last line, over all outages
	unloggedItems int       // and what they were of
	last          time.Time // last line about a failure
	logged        bool      // the outage has a line
	texts         []string  // errors that have had a line
}

// NewThrottle returns a throttle with the given interval, a minute when it is 0. A nil now means
// time.Now.
func NewThrottle(every time.Duration, now func() time.Time) *Throttle {
	if every == 0 {
		every = time.Minute
	}
	if now == nil {
		now = time.Now
	}
	return &Throttle{every: every, now: now}
}

// Fail counts a failure and logs it when it is the first of an outage, has an error text that is
// new in it, or comes an interval after the last line. The line carries msg, Err(err) and attrs,
// and for anything but the first failure "repeated", the failures since the last line with this
// one, and "since", when the outage began.
func (t *Throttle) Fail(log *slog.Logger, level slog.Level, msg string, err error, attrs ...any) {
	t.FailN(log, level, msg, err, 0, attrs...)
}

// FailN is Fail for a failure of n things, such as samples: a line has under "count" how many there
// were since the last one, and the line at the end how many there were in all.
func (t *Throttle) FailN(log *slog.Logger, level slog.Level, msg string, err error, n int, attrs ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	due := t.last.IsZero() || now.Sub(t.last) >= t.every
	if t.failures == 0 {
		t.first, t.logged, t.items = now, false, 0
		if due {
			t.texts = nil
		}
	}
	t.latest = now
	t.failures++
	t.unlogged++
	t.items += n
	t.unloggedItems += n

	text := msg
	if err != nil {
		text += ": " + err.Error()
	}
	known := slices.Contains(t.texts, text)
	if !due && (known || len(t.texts) == newTexts) {
		return
	}
	if !known && len(t.texts) < newTexts {
		t.texts = append(t.texts, text)
	}
	line := []any{Err(err)}
	if t.unlogged > 1 || t.failures > 1 {
		line = append(line, slog.Int(KeyRepeated, t.unlogged), stamp(t.first))
	}
	line = append(line, count(t.unloggedItems))
	log.Log(context.Background(), level, msg, append(line, attrs...)...)
	t.last, t.unlogged, t.unloggedItems, t.logged = now, 0, 0, true
}

// Recover ends the outage, if there is one. It logs msg with "failures", their number in this
// outage, "since", when it began, "outage_seconds", how long it lasted, and attrs, unless the
// outage never had a line.
func (t *Throttle) Recover(log *slog.Logger, msg string, attrs ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(log, t.now(), msg, attrs)
}

// Quiet is Recover for what happens now and then and never succeeds, such as a sample that is given
// up: the outage is over when the last failure is at least after ago, and that was its end.
func (t *Throttle) Quiet(log *slog.Logger, after time.Duration, msg string, attrs ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now().Sub(t.latest) >= after {
		t.end(log, t.latest, msg, attrs)
	}
}

func (t *Throttle) end(log *slog.Logger, at time.Time, msg string, attrs []any) {
	if t.failures == 0 {
		return
	}
	if t.logged {
		line := []any{
			slog.Int(KeyFailures, t.failures),
			stamp(t.first),
			slog.Float64(KeyOutageSeconds, at.Sub(t.first).Round(time.Millisecond).Seconds()),
			count(t.items),
		}
		log.Info(msg, append(line, attrs...)...)
		t.unlogged, t.unloggedItems = 0, 0
	}
	t.failures = 0
}

func stamp(t time.Time) slog.Attr {
	return slog.String(KeySince, t.UTC().Format(time.RFC3339))
}

// count gives no key for 0.
func count(n int) slog.Attr {
	if n == 0 {
		return slog.Attr{}
	}
	return slog.Int(KeyCount, n)
}
