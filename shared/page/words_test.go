package page

import (
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/health"
)

func TestWords(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	s := status{
		Components: map[string]health.Component{"time": {Facts: health.Clock{SkewMS: -7214}}},
		Delivery: delivery{
			Server: "metrics.example", Pending: 1_234_567, DeadLetters: map[string]int64{"a": 1000, "b": 1},
			LastError: "POST https://metrics.example/api/v1/import: dial tcp 203.0.113.9:443: connect: connection refused",
		},
	}
	f := func(code, message string, age time.Duration, want string) {
		t.Helper()
		if got := s.words(health.Reason{Code: code, Message: message, Since: now.Add(-age)}, health.Limits{DegradedPending: 5000}, now); got != want {
			t.Errorf("%s, %q: got %q, want %q", code, message, got, want)
		}
	}
	f("upload_late", "no upload for 4m0s, more than 2 × the upload interval of 30s", 4*time.Minute, "No upload for 4 min: connection refused by metrics.example")
	f("upload_overdue", "", 3*time.Hour+25*time.Minute+4*time.Second, "No upload for 3 h 25 min: connection refused by metrics.example")
	f("upload_stalled", "", 26*time.Hour, "No upload for 26 h, and 1,234,567 rows wait: connection refused by metrics.example")
	f("backlog", "9000 rows pending, 5000 or more", 0, "1,234,567 rows wait to be sent")
	f("clock_skew", "the clock is off by -7214 ms, more than 2000 ms", 0, "The clock is 7.2 s behind")
	for skew, want := range map[int64]string{
		86_399_987: "The clock is 24 h ahead of that of time.example", -86_399_974: "The clock is 24 h behind that of time.example",
		59_600: "The clock is 1 min ahead of that of time.example", -30 * 86_400_000: "The clock is 30 days behind that of time.example",
	} {
		s.Components["time"] = health.Component{Facts: health.Clock{SkewMS: skew, Source: "https://time.example/health"}}
		f("clock_skew", "", 0, want)
	}
	f("dead_letters", "samples could not be delivered", 0, "1,001 samples could not be delivered and are kept as dead letters")
	f("other", "the thing took 1h0m3.5s, not 30s", 0, "The thing took 60 min, not 30 s")
	f("other", "class2s and v1.2s stay", 0, "Class2s and v1.2 s stay")
	f("other", "", 0, "other")
	s.Delivery.LastError, s.Delivery.Pending, s.Components = "", 4999, nil
	f("backlog", "9000 rows pending, 5000 or more", 0, "The backlog has been sent, 4,999 rows wait: this note goes in a moment")
	f("upload_late", "", 90*time.Second, "No upload for 1 min")
	f("clock_skew", "the clock is off by 3000 ms", 0, "The clock is off by 3000 ms")
}

func TestSpell(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 140 * time.Millisecond: "0.1 s", 7214 * time.Millisecond: "7.2 s", 59 * time.Second: "59 s",
		60 * time.Second: "1 min", 119 * time.Second: "1 min", 89 * time.Minute: "89 min", 90 * time.Minute: "1 h 30 min", 2 * time.Hour: "2 h",
		11*time.Hour + 30*time.Minute: "11 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 days", 400 * 24 * time.Hour: "400 days",
	} {
		if got := spell(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567890: "1,234,567,890"} {
		if got := grouped(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCauseOf(t *testing.T) {
	t.Parallel()
	f := func(text, server, want string) {
		t.Helper()
		if got := causeOf(text, server); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	f("POST https://m/: dial tcp: lookup m on 127.0.0.53:53: no such host", "m", "the name m is not known: no network, or a wrong name")
	f("dial tcp 1.2.3.4:443: connect: network is unreachable", "m", "no network")
	f("read tcp 1.2.3.4:9->1.2.3.4:443: read: connection reset by peer", "", "the server cut the connection")
	f("POST https://m/: unexpected EOF", "m", "m cut the connection")
	f("tls: failed to verify certificate: x509: certificate has expired", "m", "the certificate of m is not to be trusted")
	f("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "m", "no answer from m in time")
	f(`POST https://m/: the server answered 503 Service Unavailable: "connection refused"`, "m", "m answered 503 Service Unavailable")
	f("something else", "m", "something else")
	for _, c := range causes {
		if !strings.Contains(c.words, "HOST") && c.words != "no network" {
			t.Errorf("%q does not name the server", c.words)
		}
	}
}
