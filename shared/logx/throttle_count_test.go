package logx

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lineOf is what the tests below read of a line.
type lineOf struct {
	msg                       string
	repeated, failures, count int
	outage                    float64
}

func linesOf(lines []map[string]any) (all []lineOf) {
	number := func(v any) float64 { n, _ := v.(float64); return n }
	for _, l := range lines {
		msg, _ := l["msg"].(string)
		all = append(all, lineOf{msg, int(number(l["repeated"])), int(number(l["failures"])), int(number(l["count"])), number(l["outage_seconds"])})
	}
	return all
}

// TestThrottle_Counts: the things of failures without a line are in the next one.
func TestThrottle_Counts(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	f := func(second int, n int, want ...lineOf) {
		t.Helper()
		s.at = start.Add(time.Duration(second) * time.Second)
		s.th.FailN(s.log, slog.LevelWarn, "moved", nil, n)
		s.compare(want)
	}
	f(0, 50, lineOf{msg: "moved", count: 50})
	f(10, 7)
	f(20, 3)
	f(60, 5, lineOf{msg: "moved", repeated: 3, count: 15})
	f(70, 1)
	s.recover(80)
	s.compare([]lineOf{{msg: "upload works again", failures: 5, count: 66, outage: 80}})
	f(300, 2, lineOf{msg: "moved", count: 2})
}

func (s *script) compare(want []lineOf) {
	s.t.Helper()
	got := linesOf(s.lines())
	if len(got) != len(want) {
		s.t.Fatalf("got %+v, want %+v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			s.t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
}

// TestThrottle_Quiet: what only happens is over when it has not happened for a while.
func TestThrottle_Quiet(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	quiet := func(second int, want ...lineOf) {
		t.Helper()
		s.at = start.Add(time.Duration(second) * time.Second)
		s.th.Quiet(s.log, 2*time.Minute, "no more")
		s.compare(want)
	}
	quiet(0)
	s.fail(10, "odd")
	s.fail(70, "odd")
	s.compare([]lineOf{{msg: "upload failed"}, {msg: "upload failed", repeated: 1}})
	s.fail(75, "odd")
	quiet(76)
	quiet(194)
	quiet(195, lineOf{msg: "no more", failures: 3, outage: 65}) // it ended with the last failure
	quiet(1000)
	s.fail(1001, "odd")
	s.compare([]lineOf{{msg: "upload failed"}})
	quiet(1121, lineOf{msg: "no more", failures: 1})
}

// TestThrottle_CountsAddUp: on random histories the lines of an outage, and what its
// last line leaves untold, have all things that failed; the end has their sum.
func TestThrottle_CountsAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		now := start
		th := NewThrottle(time.Minute, func() time.Time { return now })
		log, lines := newJSON(t)
		untold, outage := 0, 0
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(rt, "pause")) * time.Second)
			if rapid.IntRange(0, 9).Draw(rt, "what") == 9 {
				th.Quiet(log, time.Duration(rapid.IntRange(0, 60).Draw(rt, "after"))*time.Second, "over")
				if got := linesOf(lines()); len(got) > 0 {
					if got[0].count != outage {
						rt.Errorf("got %+v, want count=%d", got[0], outage)
					}
					untold = 0
				}
				if th.failures == 0 {
					outage = 0
				}
				continue
			}
			n := rapid.IntRange(1, 99).Draw(rt, "n")
			untold += n
			outage += n
			th.FailN(log, slog.LevelWarn, "fails", errors.New("x"), n)
			if got := linesOf(lines()); len(got) > 0 {
				if got[0].count != untold {
					rt.Errorf("got %+v, want count=%d", got[0], untold)
				}
				untold = 0
			}
		}
	})
}
