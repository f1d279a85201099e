package health

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/config"
)

var (
	now      = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	defaults = Limits{UploadInterval: 30 * time.Second, DegradedPending: 5000, ErrorPending: 10000, SkewWarnMS: 2000}
)

// collectors returns n of them; those with the numbers in failing fail, the first for a minute, the next for two.
func collectors(n int, failing ...int) Input {
	c := &Collectors{}
	for i := range n {
		c.List = append(c.List, Collector{Name: string(rune('a' + i)), LastSuccess: now})
	}
	for i, k := range failing {
		c.List[k].FailingSince = now.Add(-time.Duration(i+1) * time.Minute)
	}
	return Input{Collectors: c}
}

// shipper returns a shipperd with a last upload some time ago and rows pending.
func shipper(age time.Duration, pending int64) Input {
	return Input{
		Uploader: &Uploader{Started: now.Add(-24 * time.Hour), LastUpload: now.Add(-age)},
		Storage:  &Storage{Pending: pending},
		Time:     &Clock{},
	}
}

func skew(ms int64) Input { return Input{Time: &Clock{Checked: now, SkewMS: ms}} }

func codes(r Report) []string {
	got := []string{}
	for _, reason := range r.Reasons {
		got = append(got, reason.Code)
	}
	return got
}

// TestEvaluate_Boundaries walks over every edge of the rules, and over the gaps between them.
func TestEvaluate_Boundaries(t *testing.T) {
	t.Parallel()
	limits := defaults
	f := func(name string, in Input, want Status, wantCodes ...string) {
		t.Helper()
		got := Evaluate(in, limits, now)
		if got.Status != want || !slices.Equal(codes(got), wantCodes) {
			t.Errorf("%s: got %v %v, want %v %v", name, got.Status, codes(got), want, wantCodes)
		}
	}
	const second = time.Second

	f("nothing to judge", Input{}, OK)
	f("no collectors", collectors(0), OK)
	f("all collectors healthy", collectors(3), OK)
	f("one of three fails", collectors(3, 1), Degraded, "collectors_failing")
	f("two of three fail", collectors(3, 0, 2), Degraded, "collectors_failing")
	f("three of three fail", collectors(3, 0, 1, 2), Error, "all_collectors_failing")
	f("one of one fails", collectors(1, 0), Error, "all_collectors_failing")

	own := collectors(3, 0, 1)
	own.Collectors.List[2].Own = true
	f("all but the daemon's own numbers fail", own, Error, "all_collectors_failing")
	own = collectors(3, 2)
	own.Collectors.List[2].Own = true
	f("the daemon's own numbers alone fail", own, Degraded, "collectors_failing")
	own.Storage = &Storage{Faults: []Reason{TicksNotStored.Reason("disk full", now)}}
	f("they fail because nothing can be stored", own, Error, "ticks_not_stored")
	own.Collectors.List[0].FailingSince = now
	f("so do others", own, Error, "ticks_not_stored", "collectors_failing")
	own = collectors(1, 0)
	own.Collectors.List[0].Own = true
	f("there is no other than the daemon's own, and it fails", own, Degraded, "collectors_failing")

	f("just uploaded", shipper(0, 0), OK)
	f("clock set back", shipper(-time.Hour, 0), OK)
	f("below 2 intervals", shipper(60*second-1, 0), OK)
	f("2 intervals", shipper(60*second, 0), OK)
	f("over 2 intervals", shipper(60*second+1, 0), Degraded, "upload_late")
	f("below 10 intervals", shipper(300*second-1, 0), Degraded, "upload_late")
	f("10 intervals", shipper(300*second, 0), Degraded, "upload_late")
	f("gap: over 10 intervals, not yet 10 minutes", shipper(300*second+1, 0), Degraded, "upload_overdue")
	f("gap: over 10 minutes, nothing pending", shipper(600*second+1, 0), Degraded, "upload_overdue")
	f("gap: a week, and all but too many pending", shipper(7*24*time.Hour, 4999), Degraded, "upload_overdue")

	f("4999 pending", shipper(0, 4999), OK)
	f("5000 pending", shipper(0, 5000), Degraded, "backlog")
	f("5001 pending", shipper(0, 5001), Degraded, "backlog")
	f("9999 pending", shipper(0, 9999), Degraded, "backlog")
	f("10000 pending", shipper(0, 10000), Degraded, "backlog")
	f("gap: 10001 pending, uploads recent", shipper(0, 10001), Degraded, "backlog_large")

	// Both edges of the error, and each corner around the one where they meet.
	for _, age := range []time.Duration{600*second - 1, 600 * second, 600*second + 1} {
		for _, pending := range []int64{9999, 10000, 10001} {
			want, wantCodes := Degraded, []string{"upload_overdue", "backlog"}
			if pending > 10000 {
				wantCodes[1] = "backlog_large"
				if age > 600*second {
					want, wantCodes[0] = Error, "upload_stalled"
				}
			}
			f(fmt.Sprintf("no upload for %v and %d pending", age, pending), shipper(age, pending), want, wantCodes...)
		}
	}
	f("late and a backlog", shipper(61*second, 5000), Degraded, "upload_late", "backlog")
	f("late and not yet a backlog", shipper(61*second, 4999), Degraded, "upload_late")

	f("skew not measured", Input{Time: &Clock{SkewMS: 9999}}, OK)
	for _, sign := range []int64{1, -1} {
		f("skew below 2000 ms", skew(sign*1999), OK)
		f("skew 2000 ms", skew(sign*2000), OK)
		f("skew over 2000 ms", skew(sign*2001), Degraded, "clock_skew")
	}

	// The rule of 10 minutes counts also where two upload intervals are longer.
	limits.UploadInterval = time.Hour
	f("long interval, few pending", shipper(11*time.Minute, 4999), OK)
	f("long interval, many pending", shipper(11*time.Minute, 10001), Error, "upload_stalled", "backlog_large")

	limits = defaults
	limits.NoUploads = true
	f("uploads switched off", shipper(7*24*time.Hour, 1e9), OK)

	limits = Limits{UploadInterval: second, DegradedPending: 10, ErrorPending: 20, SkewWarnMS: 100}
	f("own limits, ok", shipper(2*second, 9), OK)
	f("own limits, late", shipper(2*second+1, 9), Degraded, "upload_late")
	f("own limits, overdue", shipper(10*second+1, 9), Degraded, "upload_overdue")
	f("own limits, backlog", shipper(0, 10), Degraded, "backlog")
	f("own limits, backlog still", shipper(0, 20), Degraded, "backlog")
	f("own limits, large backlog", shipper(0, 21), Degraded, "backlog_large")
	f("own limits, stalled", shipper(601*second, 21), Error, "upload_stalled", "backlog_large")
	f("own limits, skew", skew(101), Degraded, "clock_skew")
}

// TestEvaluate_Reasons compares whole reasons: text and beginning.
func TestEvaluate_Reasons(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	f := func(in Input, want ...Reason) {
		t.Helper()
		if got := Evaluate(in, defaults, now).Reasons; !slices.Equal(got, want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
	f(collectors(3, 1, 2), Reason{
		"collectors", "collectors_failing", Degraded, "2 of 3 collectors fail: b, c", ago(2 * time.Minute),
	})
	f(collectors(2, 1, 0), Reason{
		"collectors", "all_collectors_failing", Error, "all collectors (2) fail", ago(time.Minute),
	})
	f(shipper(90*time.Second, 0), Reason{
		"uploader", "upload_late", Degraded, "no upload for 1m30s, more than 2 × the upload interval of 30s",
		ago(90 * time.Second),
	})
	refused := shipper(90*time.Second, 0)
	refused.Uploader.Error = "the server answered 401 Unauthorized"
	f(refused, Reason{
		"uploader", "upload_late", Degraded,
		"no upload for 1m30s, more than 2 × the upload interval of 30s: the server answered 401 Unauthorized", ago(90 * time.Second),
	})
	joined := shipper(0, 0)
	joined.Storage.Faults = []Reason{DeliveryWaits.Reason("disk full\nprune: disk full", now)}
	f(joined, Reason{"storage", "delivery_waits", Error, "disk full; prune: disk full", now})
	f(shipper(time.Hour, 10001), Reason{
		"uploader", "upload_stalled", Error, "no upload for 1h0m0s, and 10001 rows pending", ago(time.Hour),
	}, Reason{"storage", "backlog_large", Degraded, "10001 rows pending, more than 10000", time.Time{}})
	f(shipper(0, 5000), Reason{"storage", "backlog", Degraded, "5000 rows pending, 5000 or more", time.Time{}})
	f(skew(-2500), Reason{"time", "clock_skew", Degraded, "the clock is 2.5s behind, more than 2000 ms", time.Time{}})

	never := shipper(0, 0)
	never.Uploader.LastUpload = time.Time{}
	f(never, Reason{
		"uploader", "upload_overdue", Degraded, "no upload for 24h0m0s, more than 10 × the upload interval of 30s",
		ago(24 * time.Hour),
	})
	never.Uploader.Started = ago(time.Minute)
	f(never)
}

// TestEvaluate_Faults: what a daemon found by itself counts like a rule, and a note does not.
func TestEvaluate_Faults(t *testing.T) {
	t.Parallel()
	in := collectors(2, 0)
	in.Storage = &Storage{Faults: []Reason{{Code: "read_only", Severity: Error, Message: "the file system is read-only", Since: now}}}
	in.Time = &Clock{Faults: []Reason{{Code: "no_server", Message: "no server to compare with"}}}
	got := Evaluate(in, defaults, now)
	if want := []string{"read_only", "collectors_failing", "no_server"}; !slices.Equal(codes(got), want) {
		t.Errorf("got %v, want %v, the worst first", codes(got), want)
	}
	if got.Reasons[0].Component != "storage" || got.Reasons[2].Component != "time" {
		t.Errorf("got %+v, want the component's name in each", got.Reasons)
	}
	for name, want := range map[string]Status{"collectors": Degraded, "storage": Error, "time": OK} {
		if c := got.Components[name]; c.Status != want {
			t.Errorf("%s: got %v, want %v", name, c.Status, want)
		}
	}
	if got.Status != Error || len(got.Components) != 3 {
		t.Errorf("got %v, %d components, want error, 3", got.Status, len(got.Components))
	}
	if want := "error: the file system is read-only, 1 of 2 collectors fail: a, no server to compare with"; got.Summary() != want {
		t.Errorf("got %q, want %q", got.Summary(), want)
	}
	if got := Evaluate(Input{}, defaults, now).Summary(); got != "ok" {
		t.Errorf("got %q, want ok", got)
	}
}

// TestEvaluate_Design compares with the rules as they are written in prose, one by one, on random inputs.
func TestEvaluate_Design(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		edge := func(name string, at ...int64) int64 {
			return rapid.SampledFrom(at).Draw(t, name) + rapid.Int64Range(-1, 1).Draw(t, name+" by")
		}
		age := time.Duration(edge("seconds", 1, 60, 300, 600, 86400)) * time.Second
		pending := edge("pending", 1, 5000, 10000, 1e6)
		n := rapid.IntRange(0, 3).Draw(t, "collectors")
		fail := rapid.IntRange(0, n).Draw(t, "failing")
		in := shipper(age, pending)
		in.Collectors = collectors(n, []int{0, 1, 2}[:fail]...).Collectors

		var want Status
		switch {
		case fail > 0 && fail == n, age > 10*time.Minute && pending > 10000:
			want = Error
		case fail == 0 && age <= 2*30*time.Second && pending < 5000:
			want = OK
		default:
			want = Degraded
		}
		got := Evaluate(in, defaults, now)
		if got.Status != want {
			t.Errorf("got %v, want %v", got.Status, want)
		}
		worst := OK
		for _, c := range got.Components {
			worst = max(worst, c.Status)
		}
		if got.Status != worst || (got.Status == OK) != (len(got.Reasons) == 0) {
			t.Errorf("got %v with components up to %v and reasons %v", got.Status, worst, codes(got))
		}
	})
}

func TestRules(t *testing.T) {
	t.Parallel()
	worst := map[string]Status{}
	for _, r := range Rules() {
		if last, ok := worst[r.Component]; ok && r.Severity > last {
			t.Errorf("%s: stands behind a rule that is less severe and would hide it", r.Code)
		}
		worst[r.Component] = r.Severity
	}
	Rules()[0].Code = "changed"
	Faults()[0].Code = "changed"
	if rules[0].Code == "changed" || faults[0].Code == "changed" {
		t.Error("a caller can change a table")
	}
}

// TestCodes: a code stands for one thing, and each has its words.
func TestCodes(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	f := func(component, name, condition, remedy string) {
		t.Helper()
		if seen[name] || !code.MatchString(name) {
			t.Errorf("%q: stands twice, or is no word for machines", name)
		}
		seen[name] = true
		if !slices.Contains([]string{"collectors", "uploader", "storage", "time"}, component) {
			t.Errorf("%s: got component %q", name, component)
		}
		if condition == "" || strings.HasSuffix(condition, ".") {
			t.Errorf("%s: got condition %q, want a phrase", name, condition)
		}
		if !strings.HasSuffix(remedy, ".") {
			t.Errorf("%s: got remedy %q, want a sentence", name, remedy)
		}
	}
	for _, r := range Rules() {
		f(r.Component, r.Code, r.Condition, r.Remedy)
	}
	for _, r := range Faults() {
		f(r.Component, r.Code, r.Condition, r.Remedy)
		if !slices.Contains([]string{"collectord", "shipperd", "both"}, r.Daemons) {
			t.Errorf("%s: got daemons %q", r.Code, r.Daemons)
		}
		at := now.Add(-time.Hour)
		if got, want := r.Reason("words", at), (Reason{r.Component, r.Code, r.Severity, "words", at}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestLimitsOf(t *testing.T) {
	t.Parallel()
	c := config.Default()
	want := defaults
	if got := LimitsOf(c); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	c.Collection.Interval = 10 * time.Minute // nothing to upload for most of the time
	want.UploadInterval = 10 * time.Minute
	c.Remote.Enabled, want.NoUploads = false, true
	if got := LimitsOf(c); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
