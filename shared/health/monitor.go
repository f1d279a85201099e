package health

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"belabox-metrics/shared/run"
)

const (
	watchEvery = 30 * time.Second // how often Watch makes a report
	soonest    = 10 * time.Second // the least between two, however often Soon is called
)

// Source returns the state of the daemon. It must return soon and obey ctx: calls do not overlap,
// so one that hangs delays every later one. What it cannot find out, it reports as a condition.
type Source func(ctx context.Context) Input

// Monitor makes reports and remembers between them since when conditions and statuses hold. It
// dates a condition without a known beginning to the first report that has it, so run Watch beside
// it.
type Monitor struct {
	about  About
	limits Limits
	source Source
	now    func() time.Time
	soon   chan struct{}

	mu    sync.Mutex
	since map[string]time.Time // what the last report said, by condition and by status
}

// NewMonitor returns a monitor. A nil now means time.Now.
func NewMonitor(about About, limits Limits, source Source, now func() time.Time) *Monitor {
	if now == nil {
		now = time.Now
	}
	about.Started = stamp(about.Started)
	return &Monitor{about: about, limits: limits, source: source, now: now, soon: make(chan struct{}, 1)}
}

// Report returns the report of this moment.
func (m *Monitor) Report(ctx context.Context) Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.source(ctx)
	report := Evaluate(in, m.limits, m.now())
	report.About = m.about

	next := make(map[string]time.Time)
	// began returns when the thing called key began: as remembered, else as given, else now.
	began := func(key string, given time.Time) time.Time {
		t, ok := m.since[key]
		if !ok {
			t = given
		}
		if t.IsZero() {
			t = report.Time
		}
		next[key] = t
		return t
	}
	earliest := make(map[string]time.Time) // the first cause of each component's status, and of the whole under ""
	for i := range report.Conditions {
		r := &report.Conditions[i]
		if r.Since.IsZero() {
			r.Since = began("condition "+r.Component+" "+r.Code, time.Time{})
		}
		if r.Severity == report.Components[r.Component].Status {
			earliest[r.Component] = earlier(earliest[r.Component], r.Since)
		}
		if r.Severity == report.Status {
			earliest[""] = earlier(earliest[""], r.Since)
		}
	}
	for name, c := range report.Components {
		c.Since = began(name+" "+c.Status.String(), cause(c.Status, earliest[name]))
		report.Components[name] = c
	}
	report.Since = began(report.Status.String(), cause(report.Status, earliest[""]))
	m.since = next
	return report
}

// Soon says that rare work is over, such as an upload: Watch makes a report now, which needs the same
// pages of the program, instead of half a minute after the last one. It returns at once.
func (m *Monitor) Soon() {
	select {
	case m.soon <- struct{}{}:
	default: // it is known already
	}
}

// Watch makes reports until ctx ends, so that the times of conditions are right without requests,
// too. It logs each change of the status and passes each new summary line to notify, unless
// that is nil. The first report that counts is made after half a minute: the two daemons may be
// starting together.
func (m *Monitor) Watch(ctx context.Context, log *slog.Logger, notify func(line string) error) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	m.Report(ctx) // conditions that hold from the start get its time
	status, line := OK, ""
	pause, next := run.Together, time.Now().Add(watchEvery)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.soon:
			if time.Now().Before(next) {
				continue
			}
			pause = func(d time.Duration) time.Duration { return d } // between two such moments
		case <-tick.C:
		}
		tick.Reset(pause(watchEvery))
		next = time.Now().Add(soonest)
		report := m.Report(ctx)
		if ctx.Err() != nil {
			return nil // its source was cut short
		}
		if summary := report.Summary(); summary != line && notify != nil {
			line = summary
			_ = notify(line) // /health has it, too
		}
		if report.Status == status {
			continue
		}
		level := slog.LevelWarn
		if report.Status < status {
			level = slog.LevelInfo
		}
		log.Log(ctx, level, "health changed", "status", report.Status.String(), "was", status.String(), "reasons", report.codes())
		status = report.Status
	}
}

// codes names the conditions that are worse than ok.
func (r Report) codes() []string {
	codes := []string{}
	for _, a := range r.Conditions {
		if a.Severity > OK {
			codes = append(codes, a.Component+"/"+a.Code)
		}
	}
	return codes
}

// cause ignores the dates of notes: the status ok does not begin with one.
func cause(s Status, t time.Time) time.Time {
	if s == OK {
		return time.Time{}
	}
	return t
}

// earlier takes a zero time for none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
