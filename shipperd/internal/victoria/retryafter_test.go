package victoria

import (
	"net/http"
	"testing"
	"time"
)

var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	f := func(v string, want time.Duration, ok bool) {
		t.Helper()
		if got, gotOK := parseRetryAfter(v, testNow); got != want || gotOK != ok {
			t.Errorf("%q: got %v, %v, want %v, %v", v, got, gotOK, want, ok)
		}
	}
	f("0", 0, true)
	f("120", 2*time.Minute, true)
	f(" 5\t", 5*time.Second, true)
	f("007", 7*time.Second, true)
	f("3600", time.Hour, true)
	f("3601", time.Hour, true)
	f("99999999999999999999999", time.Hour, true)
	f("Fri, 20 Nov 2026 12:01:30 GMT", 90*time.Second, true)
	f("Friday, 20-Nov-26 12:01:30 GMT", 90*time.Second, true)
	f("Fri Nov 20 12:01:30 2026", 90*time.Second, true)
	f("Fri, 20 Nov 2026 11:59:59 GMT", 0, true)
	f("Sat, 21 Nov 2026 12:00:00 GMT", time.Hour, true)
	for _, v := range []string{"", " ", "-1", "+1", "1.5", "1e3", "soon", "1 2", "0x10", "Fri, 20 Nov 2026 12:01:30", "2026-11-20T12:01:30Z"} {
		f(v, 0, false)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, v := range []string{"0", "120", "99999999999999999999", "-1", testNow.Format(http.TimeFormat), "Fri Nov 20 12:01:30 2026"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		wait, ok := parseRetryAfter(v, testNow)
		if wait < 0 || wait > maxRetryAfter || !ok && wait != 0 {
			t.Errorf("%q: %v, %v", v, wait, ok)
		}
	})
}
