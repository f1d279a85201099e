package testkit

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		calls := 0
		Eventually(t, time.Minute, "the third call", func() bool { calls++; return calls == 3 })
		if calls != 3 {
			t.Errorf("calls = %d, want 3", calls)
		}
		if got, want := time.Since(start), 3*time.Millisecond; got != want {
			t.Errorf("waited %v, want %v", got, want)
		}
		Eventually(t, 0, "what is so already", func() error { return nil })
	})
}

func TestEventually_GivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := failure(t, func(t testing.TB) {
			Eventually(t, 3*time.Second, "the moon", func() error { return errors.New("it is day") })
		})
		if want := "waiting for the moon: gave up after 3s: it is day\n"; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
		if got, want := time.Since(start), 3*time.Second; got != want {
			t.Errorf("gave up after %v, want %v", got, want)
		}
		got = failure(t, func(t testing.TB) {
			Eventually(t, time.Second, "x", func() bool { return false })
		})
		if !strings.Contains(got, "not yet") {
			t.Errorf("message %q, want it to say not yet", got)
		}
	})
}
