package human

import (
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := Duration(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	f(0, "0s")
	f(999*time.Millisecond, "0s")
	f(59*time.Second, "59s")
	f(time.Minute, "1m")
	f(200*time.Second, "3m 20s")
	f(time.Hour, "1h")
	f(5*time.Hour+12*time.Minute+59*time.Second, "5h 12m")
	f(47*time.Hour, "47h")
	f(48*time.Hour, "2d")
	f(724*time.Hour, "30d 4h")
	f(-90*time.Second, "-1m 30s")
	f(math.MaxInt64, "106751d 23h")
}

func TestBytes(t *testing.T) {
	t.Parallel()
	f := func(n int64, want string) {
		t.Helper()
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	f(0, "0 B")
	f(1023, "1023 B")
	f(1536, "1.5 KiB")
	f(20<<20, "20.0 MiB")
	f(3<<30, "3.0 GiB")
	f(5<<40, "5.0 TiB")
	f(math.MaxInt64, "8388608.0 TiB")
}

func TestTime(t *testing.T) {
	t.Parallel()
	if got := Time(time.Time{}); got != "never" {
		t.Errorf("zero: got %q", got)
	}
	at := time.Date(2026, 11, 23, 18, 3, 4, 5, time.FixedZone("", 3600))
	if got := Time(at); got != "2026-11-23 17:03:04" {
		t.Errorf("got %q", got)
	}
}
