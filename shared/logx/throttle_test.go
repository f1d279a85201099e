package logx

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// script runs steps at the given seconds and compares the lines, as short texts.
type script struct {
	t     *testing.T
	at    time.Time
	th    *Throttle
	log   *slog.Logger
	lines func() []map[string]any
}

func newScript(t *testing.T) *script {
	s := &script{t: t, at: start}
	s.th = NewThrottle(time.Minute, func() time.Time { return s.at })
	s.log, s.lines = newJSON(t)
	return s
}

func (s *script) fail(second float64, text string) {
	s.at = start.Add(time.Duration(second * float64(time.Second)))
	s.th.Fail(s.log, slog.LevelWarn, "upload failed", errors.New(text), KeyAttempt, 1)
}

func (s *script) recover(second float64) {
	s.at = start.Add(time.Duration(second * float64(time.Second)))
	s.th.Recover(s.log, "upload works again", KeyCollector, "cpu")
}

func (s *script) want(want ...string) {
	s.t.Helper()
	var got []string
	for _, l := range s.lines() {
		words := []string{fmt.Sprint(l["level"]), fmt.Sprint(l["msg"])}
		for _, key := range []string{"error", "error_type", "repeated", "failures", "since", "outage_seconds", "attempt", "collector"} {
			if v, ok := l[key]; ok {
				words = append(words, fmt.Sprint(key, "=", v))
			}
		}
		got = append(got, strings.Join(words, " "))
	}
	if len(got) != len(want) {
		s.t.Fatalf("got %d lines, want %d:\n%q\n%q", len(got), len(want), got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			s.t.Errorf("line %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

func TestThrottle_Outage(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.recover(0)
	s.want()
	s.fail(0, "refused")
	s.want("WARN upload failed error=refused error_type=error attempt=1")
	for i := 1; i < 60; i++ {
		s.fail(float64(i), "refused")
	}
	s.want()
	s.fail(60, "refused") // the boundary belongs to the next line
	s.want("WARN upload failed error=refused error_type=error repeated=60 since=2026-11-23T10:00:00Z attempt=1")
	s.fail(119.999, "refused")
	s.want()
	s.fail(120, "refused")
	s.want("WARN upload failed error=refused error_type=error repeated=2 since=2026-11-23T10:00:00Z attempt=1")
	s.fail(125, "refused")
	s.recover(130.5)
	// The outage began with its first failure, not with its last.
	s.want("INFO upload works again failures=64 since=2026-11-23T10:00:00Z outage_seconds=130.5 collector=cpu")
	s.recover(131)
	s.want()
	s.fail(200, "refused")
	s.want("WARN upload failed error=refused error_type=error attempt=1")
}

func TestThrottle_NewErrorAtOnce(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.fail(0, "refused")
	s.fail(1, "refused")
	s.fail(2, "disk full")
	s.want("WARN upload failed error=refused error_type=error attempt=1",
		`WARN upload failed error=disk full error_type=error repeated=2 since=2026-11-23T10:00:00Z attempt=1`)
	s.fail(3, "refused") // seen before: alternating errors are no news
	s.fail(4, "disk full")
	s.want()
	s.fail(62, "disk full")
	s.want(`WARN upload failed error=disk full error_type=error repeated=3 since=2026-11-23T10:00:00Z attempt=1`)
}

// TestThrottle_EveryErrorDiffers has a port in its text, as connection errors do.
func TestThrottle_EveryErrorDiffers(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for i := range 600 {
		s.fail(float64(i), fmt.Sprint("reset by peer, port ", i))
	}
	if got, want := len(s.lines()), newTexts+9; got != want {
		t.Errorf("got %d lines in ten minutes, want %d", got, want)
	}
}

func TestThrottle_Flapping(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.fail(0, "refused")
	s.recover(1)
	s.want("WARN upload failed error=refused error_type=error attempt=1",
		"INFO upload works again failures=1 since=2026-11-23T10:00:00Z outage_seconds=1 collector=cpu")
	for i := 2; i < 60; i += 2 {
		s.fail(float64(i), "refused")
		s.recover(float64(i) + 1)
	}
	s.want()
	s.fail(60, "refused")
	s.recover(61)
	s.want("WARN upload failed error=refused error_type=error repeated=30 since=2026-11-23T10:01:00Z attempt=1",
		"INFO upload works again failures=1 since=2026-11-23T10:01:00Z outage_seconds=1 collector=cpu")
}

func TestThrottle_Defaults(t *testing.T) {
	t.Parallel()
	th := NewThrottle(0, nil)
	log, lines := newJSON(t)
	before := time.Now()
	th.Fail(log, slog.LevelError, "no cause", nil)
	th.Fail(log, slog.LevelError, "no cause", nil)
	th.Fail(log, slog.LevelError, "another message", nil)
	got := lines()
	if len(got) != 2 || got[0]["msg"] != "no cause" || got[1]["msg"] != "another message" || got[0]["error"] != nil {
		t.Errorf("got %v, want one line each, without an error", got)
	}
	if th.every != time.Minute || th.first.Before(before) {
		t.Errorf("got %v since %v, want a minute and the time now", th.every, th.first)
	}
}

// TestThrottle_AddsUp checks on random histories that each line tells of all failures since the
// last one, and that the lines are few.
func TestThrottle_AddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		now := start
		th := NewThrottle(time.Minute, func() time.Time { return now })
		log, lines := newJSON(t)
		outage, untold, fails, works := 0, 0, 0, 0
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(rt, "pause")) * time.Second)
			if rapid.IntRange(0, 9).Draw(rt, "what") == 9 {
				th.Recover(log, "works")
				if got := lines(); len(got) > 0 {
					works++
					untold = 0
					if got[0]["failures"] != float64(outage) {
						rt.Errorf("got %v, want failures=%d", got[0], outage)
					}
				}
				outage = 0
				continue
			}
			outage++
			untold++
			th.Fail(log, slog.LevelWarn, "fails", errors.New("x"))
			if got := lines(); len(got) > 0 {
				fails++
				if r, ok := got[0]["repeated"]; r != float64(untold) && (ok || untold > 1) {
					rt.Errorf("got %v, want repeated=%d", got[0], untold)
				}
				untold = 0
			}
		}
		if limit := int(now.Sub(start)/time.Minute) + 1; fails > limit || works > fails {
			rt.Errorf("got %d lines of failures and %d of recovery, want at most %d each", fails, works, limit)
		}
	})
}

// TestThrottle_Concurrent is for the race detector.
func TestThrottle_Concurrent(t *testing.T) {
	t.Parallel()
	th := NewThrottle(time.Minute, nil)
	log, lines := newJSON(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				th.Fail(log, slog.LevelWarn, "fails", errors.New("x"))
			}
		})
	}
	wg.Wait()
	th.Recover(log, "works")
	got := lines()
	if len(got) != 2 || got[1]["failures"] != 400.0 {
		t.Errorf("got %v, want the first failure and a recovery with failures=400", got)
	}
}
