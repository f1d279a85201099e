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
	f(0, "0 s")
	f(140*time.Millisecond, "0.1 s")
	f(7214*time.Millisecond, "7.2 s")
	f(59*time.Second, "59 s")
	f(time.Minute, "1 min")
	f(119*time.Second, "1 min")
	f(89*time.Minute, "89 min")
	f(90*time.Minute, "1 h 30 min")
	f(2*time.Hour, "2 h")
	f(5*time.Hour+12*time.Minute+59*time.Second, "5 h 12 min")
	f(11*time.Hour+30*time.Minute, "11 h")
	f(47*time.Hour, "47 h")
	f(48*time.Hour, "2 days")
	f(-90*time.Second, "-1 min")
	f(math.MaxInt64, "106751 days")
}

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567890: "1,234,567,890"} {
		if got := Count(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0 chunks", 1: "1 chunk", 2: "2 chunks"} {
		if got := Plural(n, "chunk"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
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

func TestHost(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://op:no@metrics.example:8428/api/v1/import?token=no": "metrics.example", "shipperd": "", "": "", "http://[::1]:1/": "::1", ":": "",
	} {
		if got := Host(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}
