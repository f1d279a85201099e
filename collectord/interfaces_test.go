package main

import (
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/health"
)

func TestVitals_InterfaceGone(t *testing.T) {
	t.Parallel()
	v := newVitals()
	network := func(second int64, came, gone []string) {
		v.tick(at(second, schedule.Result{Collector: "network", Came: came, Gone: gone}))
	}
	f := func(second int64, want string) {
		t.Helper()
		got := ""
		for _, r := range v.collectors(time.Unix(second, 0)).Found {
			if r.Code != health.InterfaceGone.Code || r.Severity != health.OK || r.Since.IsZero() {
				t.Errorf("got %+v", r)
			}
			got = r.Message
		}
		if got != want {
			t.Errorf("at %d: got %q, want %q", second, got, want)
		}
	}
	network(90, []string{"usb0"}, nil)
	f(90, "")
	network(100, []string{"lan9"}, []string{"wan0"})
	f(100, "network interfaces disappeared: wan0; new since then: lan9")
	network(110, nil, []string{"usb0"})
	f(110, "network interfaces disappeared: usb0, wan0; new since then: lan9")
	network(120, []string{"wan0"}, []string{"lan9"})
	f(120, "network interfaces disappeared: lan9, usb0")
	f(110+86400, "network interfaces disappeared: lan9, usb0")
	f(111+86400, "network interfaces disappeared: lan9")
	f(121+86400, "")
}

// A rename is one line, and one that is repeated every tick is no flood.
func TestRecord_InterfaceRenamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	b.tick(t, 100, schedule.Result{Collector: "network", Came: []string{"lan9"}, Gone: []string{"wan0"}})
	b.tick(t, 110, schedule.Result{Collector: "network"})
	got := b.log.String()
	if n := strings.Count(got, "network interfaces changed"); n != 1 || !strings.Contains(got, `"gone":["wan0"],"came":["lan9"]`) {
		t.Errorf("got %d lines in\n%s", n, got)
	}
	for range 20 {
		b.tick(t, 120, schedule.Result{Collector: "network", Gone: []string{"ppp0"}})
		b.tick(t, 120, schedule.Result{Collector: "network", Came: []string{"ppp0"}})
	}
	if n := strings.Count(b.log.String(), "network interfaces changed"); n > 4 {
		t.Errorf("got %d lines of an interface that flaps", n)
	}
}
