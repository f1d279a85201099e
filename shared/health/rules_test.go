package health

import (
	"cmp"
	"errors"
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
	now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	// defaults with half the interval: ten of them are then less than ten minutes.
	defaults = Limits{UploadInterval: 30 * time.Second, DegradedPending: 5000, ErrorPending: 10000, SkewWarnMS: 2000}
)

// collectors returns n of them; those with the numbers in failing fail, the first for a minute, the
// next for two.
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
	for _, a := range r.Conditions {
		got = append(got, a.Code)
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

	self := collectors(3, 0, 1)
	self.Collectors.List[2].Self = true
	f("all but the self-metrics fail", self, Error, "all_collectors_failing")
	self = collectors(3, 2)
	self.Collectors.List[2].Self = true
	f("the self-metrics alone fail", self, Degraded, "collectors_failing")
	self.Storage = &Storage{Found: []Active{TicksNotStored.Active(now, "1 tick", "disk full")}}
	f("they fail because nothing can be stored", self, Error, "ticks_not_stored")
	self.Collectors.List[0].FailingSince = now
	f("so do others", self, Error, "ticks_not_stored", "collectors_failing")
	self = collectors(1, 0)
	self.Collectors.List[0].Self = true
	f("there is no other than the self-metrics, and it fails", self, Degraded, "collectors_failing")

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

// TestEvaluate_Messages compares messages and beginnings.
func TestEvaluate_Messages(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	type message struct {
		text  string
		since time.Time
	}
	f := func(in Input, want ...message) {
		t.Helper()
		var got []message
		for _, a := range Evaluate(in, defaults, now).Conditions {
			got = append(got, message{a.Message, a.Since})
			if !strings.HasSuffix(a.Remedy, ".") {
				t.Errorf("%+v has no remedy", a)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
	f(collectors(3, 1, 2), message{"2 of 3 collectors are failing: b, c", ago(2 * time.Minute)})
	f(collectors(2, 1, 0), message{"all 2 collectors are failing", ago(time.Minute)})
	f(shipper(200*time.Second, 0), message{"no upload for 3 min, limit 1 min: no new samples are stored", ago(200 * time.Second)})
	refused := shipper(90*time.Second, 0)
	refused.Uploader.Cause = CauseRefused.Of("metrics.example")
	f(refused, message{"no upload for 1 min, limit 1 min: connection refused by metrics.example", ago(90 * time.Second)})
	joined := shipper(0, 0)
	joined.Storage.Found = []Active{DeliveryWaits.Active(now, errors.New("disk full\nprune: disk full"))}
	f(joined, message{"uploads are paused because the database cannot be used: disk full; prune: disk full", now})
	f(shipper(time.Hour, 10001),
		message{"no upload for 60 min and more than 10,000 rows pending", ago(time.Hour)},
		message{"more than 10,000 rows pending", time.Time{}})
	f(shipper(0, 5000), message{"5,000 or more rows pending", time.Time{}})

	f(skew(-2500), message{"the clock is 2.5 s behind", time.Time{}})
	for ms, want := range map[int64]string{
		86_399_987: "24 h ahead of time.example", -86_399_974: "24 h behind time.example", 59_600: "1 min ahead of time.example",
		-30 * 86_400_000: "30 days behind time.example",
	} {
		in := skew(ms)
		in.Time.Source = "https://time.example/health"
		f(in, message{"the clock is " + want, time.Time{}})
		in.Time.Synchronised = true
		f(in, message{"the clock is " + want + " (and synchronised)", time.Time{}})
	}

	never := shipper(0, 0)
	never.Uploader.LastUpload = time.Time{}
	f(never, message{"no upload for 24 h, limit 5 min: no new samples are stored", ago(24 * time.Hour)})
	never.Uploader.Started = ago(time.Minute)
	f(never)
}

// TestEvaluate_Cause: where waiting does not help, the remedy is that of the cause.
func TestEvaluate_Cause(t *testing.T) {
	t.Parallel()
	for _, in := range []Input{shipper(90*time.Second, 1), shipper(6*time.Minute, 1), shipper(time.Hour, 10_001)} {
		own := Evaluate(in, defaults, now).Conditions[0].Remedy
		for _, c := range Causes() {
			in.Uploader.Cause = c.Of("metrics.example")
			got := Evaluate(in, defaults, now).Conditions[0]
			if got.Remedy != cmp.Or(c.Remedy, own) || !strings.HasSuffix(got.Message, c.Of("metrics.example").Message) {
				t.Errorf("%s: got %+v", c.Code, got)
			}
		}
	}
	in := shipper(0, 5000)
	in.Uploader.Cause = CauseCredentials
	if got := Evaluate(in, defaults, now).Conditions[0]; got.Remedy == CauseCredentials.Remedy {
		t.Errorf("got %+v, want the cause with the uploads alone", got)
	}
	if got := CauseClosed.Of("").Message; got != "the server closed the connection" {
		t.Errorf("got %q", got)
	}
}

// TestEvaluate_Found: what a daemon found by itself counts like a rule, and a note does not.
func TestEvaluate_Found(t *testing.T) {
	t.Parallel()
	in := collectors(2, 0)
	in.Storage = &Storage{Found: []Active{{Component: "storage", Code: "read_only", Severity: Error, Message: "the file system is read-only", Since: now}}}
	in.Time = &Clock{Found: []Active{{Component: "time", Code: "no_server", Message: "no server to compare with"}}}
	got := Evaluate(in, defaults, now)
	if want := []string{"read_only", "collectors_failing", "no_server"}; !slices.Equal(codes(got), want) {
		t.Errorf("got %v, want %v, the worst first", codes(got), want)
	}
	if got.Conditions[0].Component != "storage" || got.Conditions[2].Component != "time" {
		t.Errorf("got %+v, want the component's name in each", got.Conditions)
	}
	for name, want := range map[string]Status{"collectors": Degraded, "storage": Error, "time": OK} {
		if c := got.Components[name]; c.Status != want {
			t.Errorf("%s: got %v, want %v", name, c.Status, want)
		}
	}
	if got.Status != Error || len(got.Components) != 3 {
		t.Errorf("got %v, %d components, want error, 3", got.Status, len(got.Components))
	}
	if want := "error: the file system is read-only, 1 of 2 collectors are failing: a, no server to compare with"; got.Summary() != want {
		t.Errorf("got %q, want %q", got.Summary(), want)
	}
	if got := Evaluate(Input{}, defaults, now).Summary(); got != "ok" {
		t.Errorf("got %q, want ok", got)
	}
}

// TestEvaluate_Design compares with the rules as they are written in prose, one by one, on random
// inputs.
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
		if got.Status != worst || (got.Status == OK) != (len(got.Conditions) == 0) {
			t.Errorf("got %v with components up to %v and reasons %v", got.Status, worst, codes(got))
		}
	})
}

// TestConditions: a code stands for one thing, and each row is complete.
func TestConditions(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen, worst := map[string]bool{}, map[string]Status{}
	for _, c := range table {
		if seen[c.Code] || !code.MatchString(c.Code) {
			t.Errorf("%q: stands twice, or is no word for machines", c.Code)
		}
		seen[c.Code] = true
		if !slices.Contains([]string{"collectors", "uploader", "storage", "time"}, c.Component) || !slices.Contains([]string{"collectord", "shipperd", "both"}, c.Daemon) {
			t.Errorf("%s: got component %q, daemon %q", c.Code, c.Component, c.Daemon)
		}
		for _, text := range []string{c.When, c.Message} {
			if text == "" || strings.HasSuffix(text, ".") || strings.ToLower(text[:1]) != text[:1] {
				t.Errorf("%s: got %q, want a phrase", c.Code, text)
			}
		}
		if !strings.HasSuffix(c.Remedy, ".") || strings.Count(c.Remedy, "`")%2 != 0 {
			t.Errorf("%s: got remedy %q, want sentences", c.Code, c.Remedy)
		}
		if c.rule == nil {
			continue
		}
		if last, ok := worst[c.Component]; ok && c.Severity > last {
			t.Errorf("%s: stands behind a rule that is less severe and would hide it", c.Code)
		}
		worst[c.Component] = c.Severity
	}
	at := now.Add(-time.Hour)
	got, want := WALLarge.Active(at, 70, 64), Active{"storage", "wal_large", Degraded, "the WAL has 70 MB, limit 64 MB; checkpoints cannot shorten it", WALLarge.Remedy, at}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestLimitsOf(t *testing.T) {
	t.Parallel()
	c := config.Default()
	want := defaults
	want.UploadInterval = time.Minute
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

func TestStatus_TextAndBack(t *testing.T) {
	t.Parallel()
	for _, want := range []Status{OK, Degraded, Error} {
		text, err := want.MarshalText()
		var got Status
		if err2 := got.UnmarshalText(text); err != nil || err2 != nil || got != want {
			t.Errorf("%v: got %v, %v, %v", want, got, err, err2)
		}
	}
	var s Status
	if err := s.UnmarshalText([]byte("well")); err == nil {
		t.Error("an unknown word: got no error")
	}
}

// TestBacklog_Sent: a backlog with newer samples sent says so, in both of its conditions.
func TestBacklog_Sent(t *testing.T) {
	t.Parallel()
	for pending, want := range map[int64]string{
		6000:  "5,000 or more rows pending; newer ones were sent up to 2026-11-23 11:59:40 UTC",
		20000: "more than 10,000 rows pending; newer ones were sent up to 2026-11-23 11:59:40 UTC",
	} {
		in := shipper(time.Second, pending)
		in.Storage.NewestSent = now.Add(-20 * time.Second)
		if got := Evaluate(in, defaults, now).Conditions; len(got) != 1 || got[0].Message != want {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
}

// TestEvaluate_Stretch: while uploads are less frequent to keep a budget, they are late later, and
// more rows wait.
func TestEvaluate_Stretch(t *testing.T) {
	t.Parallel()
	in := func(age time.Duration, pending int64, stretch float64) Input {
		return Input{Uploader: &Uploader{Started: now.Add(-time.Hour), LastUpload: now.Add(-age)}, Storage: &Storage{Pending: pending}, Stretch: stretch}
	}
	for _, tc := range []struct {
		in   Input
		want string
	}{
		{in(5*time.Minute, 30_000, 10), ""},
		{in(5*time.Minute, 30_000, 0), "upload_late backlog_large"},
		{in(10*time.Minute+time.Second, 50_000, 10), "upload_late backlog"},
		{in(10*time.Minute+time.Second, 100_001, 10), "upload_stalled backlog_large"},
		{in(2*time.Minute, 0, 0.5), "upload_late"}, // of an older configuration
	} {
		var codes []string
		for _, a := range Evaluate(tc.in, defaults, now).Conditions {
			codes = append(codes, a.Code)
		}
		slices.Sort(codes)
		want := strings.Fields(tc.want)
		slices.Sort(want)
		if !slices.Equal(codes, want) {
			t.Errorf("%v, %d rows, %v times: got %v, want %v", now.Sub(tc.in.Uploader.LastUpload), tc.in.Storage.Pending, tc.in.Stretch, codes, want)
		}
	}
}
