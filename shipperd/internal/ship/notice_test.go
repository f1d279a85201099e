package ship

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// lines returns those of the log that have the message.
func (r *rig) lines(msg string) (found []string) {
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, `msg="`+msg) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// number returns what a line has under a key, 0 without it.
func number(t *testing.T, line, key string) int {
	t.Helper()
	m := regexp.MustCompile(` ` + key + `=(\d+)`).FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// throttled wants few lines of a notice that was due each half minute for the time,
// their counts to add up, and one line at the end with all of it.
func (r *rig) throttled(t *testing.T, what notice, d time.Duration, things int) {
	t.Helper()
	lines, ends := r.lines(what.msg), r.lines(what.over)
	if most := int(d/time.Minute) + 2; len(lines) < 2 || len(lines) > most {
		t.Errorf("%d lines %q in %v, want 2 to %d", len(lines), what.msg, d, most)
	}
	sum := 0
	for _, line := range lines {
		sum += number(t, line, "count")
	}
	if len(ends) != 1 {
		t.Fatalf("%q: %d lines at the end, want 1:\n%s", what.msg, len(ends), strings.Join(ends, "\n"))
	}
	if number(t, ends[0], "failures") <= len(lines) {
		t.Errorf("%d lines and at the end %q: nothing was throttled", len(lines), ends[0])
	}
	if total := number(t, ends[0], "count"); things > 0 && (total != things || sum > total) {
		t.Errorf("%q: %d in the lines, %d at the end, want %d", what.msg, sum, total, things)
	}
}

// TestNotices_DeadLetters: a sample of each upload is refused for half an hour. The
// log has a line a minute with their number, and one when it is over.
func TestNotices_DeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 50)
		odd := testkit.AcceptSamples(func(s testkit.Sample) string {
			if int(s.Value)%50 == 7 {
				return "not this one"
			}
			return ""
		})
		odd.Header = asJSON
		r.vm.Otherwise(odd)
		r.allow.deadLetters = func(s sample) bool { return s.series == r.samples[6].series }
		r.run()
		const d = 30 * time.Minute
		r.live(d, 10*time.Second)
		r.fine()
		r.live(10*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
		things := int(r.counts().Rejected["rejected"])
		if things < 150 {
			t.Errorf("%d dead letters, want one for each tick of half an hour", things)
		}
		r.throttled(t, noticeRejected, d, things)
		r.throttled(t, noticePartial, d, 0)
		if end := r.lines(noticeRejected.over)[0]; !strings.Contains(end, "reason=rejected") {
			t.Errorf("the end has no reason: %s", end)
		}
	})
}

// TestNotices_Clamped: the clock of a device is years behind, and stays so for half an
// hour.
func TestNotices_Clamped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.allow.moved = true
		r.skew.Store(int64(-5 * 365 * 24 * time.Hour))
		r.run()
		const d = 30 * time.Minute
		r.live(d, 10*time.Second)
		r.skew.Store(0)
		r.live(10*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
		if c := r.counts(); c.Clamped < 3000 {
			t.Errorf("%d timestamps moved", c.Clamped)
		}
		r.throttled(t, noticeClamped, d, int(r.counts().Clamped))
	})
}

// TestNotices_Refused: a series that the server refuses, and says so by 400 only, is
// searched for in each upload.
func TestNotices_Refused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		bad := r.series[3]
		r.vm.RejectLines(func(line string) bool {
			return strings.Contains(line, `"part":"3"`) && strings.Contains(line, `"metric_m0"`)
		}, false)
		r.allow.deadLetters = func(s sample) bool { return s.series == named(bad) }
		r.run()
		const d = 30 * time.Minute
		r.live(d, time.Minute)
		r.vm.RejectLines(nil, false)
		r.live(10*time.Minute, time.Minute)
		r.deliver(time.Hour)
		r.throttled(t, noticeRefused, d, 0)
	})
}

// TestNotices_Forgotten: a server that accepts and does not keep each second sample of a series is
// a line a minute too, and one when nothing of it is missing any more.
func TestNotices_Forgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4, func(r *rig) { r.cfg.UploadInterval = 2 * time.Second; r.cfg.Verify.Delay = 15 * time.Second })
		const part = "part"
		bad := store.NewSeries("dev", "metric.m0", store.Number, store.Tag{Name: part, Value: "1"})
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Series != named(bad) || s.Timestamp%4000 < 2000 }))
		r.allow.deadLetters = func(s sample) bool { return s.series == named(bad) }
		r.run()
		const d = 10 * time.Minute
		r.live(d, 2*time.Second)
		r.fine()
		r.deliver(time.Hour)
		lines, ends := r.lines("accepted samples missing at the server"), r.lines("no sample missing at the server")
		if len(lines) < 2 || len(lines) > 12 || len(ends) == 0 || len(ends) > len(lines) {
			t.Fatalf("%d lines and %d at the end", len(lines), len(ends))
		}
		last := ends[len(ends)-1]
		if total := number(t, last, "missing_since_start"); total < 300 || number(t, last, "failures") < 10 {
			t.Errorf("the end: %s; want all that was missing", last)
		}
	})
}

// TestNotices_Dropped: the budget drops samples again and again while the server is
// away; a stop logs what was not logged yet.
func TestNotices_Dropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, func(r *rig) { r.cfg.MaxDataBytes = 200 << 10; r.allow.dropped = true })
		r.vm.GoAway()
		r.run()
		r.live(3*time.Hour, 30*time.Second)
		r.halt()
		r.throttledUntilStop(t, noticeDropped, int(r.counts().Dropped["size"]))
	})
}

// throttledUntilStop wants a notice's ends to add up to all of it.
func (r *rig) throttledUntilStop(t *testing.T, what notice, things int) {
	t.Helper()
	sum := 0
	for _, line := range r.lines(what.over) {
		sum += number(t, line, "count")
	}
	if things == 0 || sum != things {
		t.Errorf("%q: %d at the ends, want %d", what.msg, sum, things)
	}
}

// TestNotices_Retry: a server that is busy for the first request of each upload.
func TestNotices_Retry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		for range 60 {
			r.vm.Then(testkit.Answer(429, testkit.KeepNone), testkit.Accept())
		}
		r.run()
		r.live(30*time.Minute, 10*time.Second)
		r.live(10*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
		r.throttled(t, noticeRetry, 30*time.Minute, 0)
	})
}

// TestStats_Unread: what health needs to know of a server that takes everything and
// answers no question: since when, and why; and that it is over.
func TestStats_Unread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		for range 100 {
			r.vm.ThenRead(testkit.Answer(500, nil))
		}
		start := time.Now()
		r.run()
		r.live(time.Hour, 10*time.Second)
		c := r.counts()
		if since := c.ReadFailing.Sub(start); since <= 0 || since > 10*time.Minute || c.ReadError == nil || !strings.Contains(c.ReadError.Error(), "500") || c.Unproven {
			t.Errorf("after an hour: failing since %v: %v, unproven %v", since, c.ReadError, c.Unproven)
		}
		for r.vm.StepsLeft() > 0 {
			r.live(time.Hour, time.Minute)
		}
		r.deliver(time.Hour)
		if c := r.counts(); c.ReadError != nil || !c.ReadFailing.IsZero() {
			t.Errorf("when it answers again: %v since %v", c.ReadError, c.ReadFailing)
		}
	})
}
