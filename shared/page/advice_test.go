package page

import (
	"strings"
	"testing"

	"belabox-metrics/shared/health"
)

// Every reason that a daemon can give has words for a person.
func TestAdvice(t *testing.T) {
	t.Parallel()
	codes := map[string]bool{"dead_letters": true}
	for _, r := range health.Rules() {
		codes[r.Code] = true
	}
	for _, f := range health.Faults() {
		codes[f.Code] = true
	}
	for code := range codes {
		if advice[code] == "" {
			t.Errorf("no advice for %s", code)
		}
	}
	for code := range advice {
		if !codes[code] {
			t.Errorf("advice for %s, which nobody says", code)
		}
	}
	if got := adviceFor("new"); !strings.Contains(got, "new") {
		t.Errorf("got %q", got)
	}
}

// What does not heal by waiting is not said to be nothing to do.
func TestAdvice_OnTheLastError(t *testing.T) {
	t.Parallel()
	f := func(daemon, lastError, code, want string) {
		t.Helper()
		s := status{Daemon: health.About{Name: daemon}, Delivery: delivery{LastError: lastError}}
		if got := s.adviceOn(code); !strings.Contains(got, want) {
			t.Errorf("%s, %s, %q: got %q, want it to say %q", daemon, code, lastError, got, want)
		}
	}
	for _, code := range []string{"upload_late", "upload_overdue", "upload_stalled"} {
		f("shipperd", "import to http://m/: the server answered 401 Unauthorized: check the token", code, "valid one")
		f("shipperd", "import to http://m/: the server answered 403 Forbidden", code, "valid one")
		f("shipperd", "import to http://m/: the server answered 404 Not Found", code, "remote.url")
		f("shipperd", "tls: failed to verify certificate: x509: certificate has expired", code, "the device's clock")
		f("shipperd", "record chunks: disk full; make room on it", code, "Make room")
		f("shipperd", "dial tcp: connect: connection refused", code, advice[code])
		f("shipperd", "", code, advice[code])
		f("collectord", "", code, "page or the log of shipperd")
	}
	f("collectord", "", "backlog", advice["backlog"])
	f("collectord", "", "dead_letters", advice["dead_letters"])
	s := status{Delivery: delivery{DeadLetters: map[string]int64{"not_stored": 3}}}
	if got := s.adviceOn("dead_letters"); !strings.Contains(got, "-retentionPeriod") {
		t.Errorf("got %q", got)
	}
}
