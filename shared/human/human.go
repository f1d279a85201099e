// Package human formats quantities for people: one or two units, rounded. Programs read the numbers
// as JSON.
package human

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Duration formats d with one unit or two: 7.2 s, 59 s, 3 min, 5 h 12 min, 26 h, 12 days. From a
// minute on it is rounded down, so that a text that is shown again and again changes once a minute.
// The sign is kept.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	switch seconds := int64(d / time.Second); {
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	case seconds < 60:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 90*60:
		return fmt.Sprintf("%d min", seconds/60)
	case seconds < 10*3600 && seconds/60%60 > 0:
		return fmt.Sprintf("%d h %d min", seconds/3600, seconds/60%60)
	case seconds < 48*3600:
		return fmt.Sprintf("%d h", seconds/3600)
	default:
		return fmt.Sprintf("%d days", seconds/86400)
	}
}

// Count formats 1234567 as 1,234,567.
func Count(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Plural formats 1 as "1 chunk" and 2 as "2 chunks".
func Plural[N int | int64](n N, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// Bytes formats a number of bytes with one decimal in the largest binary unit of which there is at
// least one: 512 B, 1.5 KiB, 20.0 MiB.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1024 && unit < 3 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMGT"[unit])
}

// Time formats t in UTC, to the second; "never" for the zero time.
func Time(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// Host returns the host name of a URL and leaves out all parts that could hold a secret; "" where
// there is none.
func Host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
