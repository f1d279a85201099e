// Package human writes quantities for people: short, rounded down to what a
// reader can use. Programs get their numbers as JSON.
package human

import (
	"fmt"
	"time"
)

// Duration writes the two largest units: 12s, 3m 20s, 5h 12m, 12d 4h. What is
// below a second is 0s, and the sign of a negative one is kept.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return two(s/60, "m", s%60, "s")
	case s < 48*3600:
		return two(s/3600, "h", s%3600/60, "m")
	}
	return two(s/86400, "d", s%86400/3600, "h")
}

func two(large int64, unit string, small int64, smaller string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", large, unit)
	}
	return fmt.Sprintf("%d%s %d%s", large, unit, small, smaller)
}

// Bytes writes a number of bytes with one decimal in the largest binary unit of
// which there is at least one: 512 B, 1.5 KiB, 20.0 MiB.
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

// Time writes a moment in UTC, to the second; "never" for the zero time.
func Time(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
