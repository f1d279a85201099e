package page

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"belabox-metrics/shared/health"
)

// words says a reason as one person would to another. Numbers that change with
// every look are those of the rest of the page; minutes are whole, so that the
// sentence stands still while somebody reads it.
func (s *status) words(r health.Reason, limits health.Limits, now time.Time) string {
	switch r.Code {
	case "upload_late", "upload_overdue", "upload_stalled":
		text := "No upload for " + spell(now.Sub(r.Since))
		if r.Code == "upload_stalled" {
			text += ", and " + grouped(s.Delivery.Pending) + " rows wait"
		}
		if s.Delivery.LastError != "" {
			text += ": " + causeOf(s.Delivery.LastError, s.Delivery.Server)
		}
		return text
	case "backlog", "backlog_large":
		if s.Delivery.Pending < limits.DegradedPending { // the daemon has not counted again yet
			return "The backlog has been sent, " + grouped(s.Delivery.Pending) + " rows wait: this note goes in a moment"
		}
		return grouped(s.Delivery.Pending) + " rows wait to be sent"
	case "clock_skew":
		if clock, ok := s.Components["time"].Facts.(health.Clock); ok {
			return "The clock is " + offBy(time.Duration(clock.SkewMS)*time.Millisecond, hostOf(clock.Source))
		}
	case "dead_letters":
		if n := sum(s.Delivery.DeadLetters); n > 0 {
			return grouped(n) + " samples could not be delivered and are kept as dead letters"
		}
	}
	text := goDuration().ReplaceAllStringFunc(r.Message, func(d string) string {
		if parsed, err := time.ParseDuration(d); err == nil {
			return spell(parsed)
		}
		return d
	})
	if text == "" {
		return r.Code
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// offBy says how far a clock is from that of a host, "" = it is not known whose. What spell cuts off is rounded:
// a second less than a day is a day.
func offBy(skew time.Duration, host string) string {
	d, way := skew, " ahead"
	if d < 0 {
		d, way = -d, " behind"
	}
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
	case d >= 10*time.Second:
		d = d.Round(time.Second)
	}
	text := spell(d) + way
	switch {
	case host == "":
		return text
	case skew > 0:
		return text + " of that of " + host
	}
	return text + " that of " + host
}

// goDuration finds what time.Duration prints, such as 1h2m3s.
var goDuration = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+(\.\d+)?s\b`) })

// spell says how long something takes, with one unit or two.
func spell(d time.Duration) string {
	plain := func(n int64, unit string) string { return strconv.FormatInt(n, 10) + " " + unit }
	switch seconds := int64(d.Seconds()); {
	case d < 10*time.Second:
		return strconv.FormatFloat(max(0, d.Round(100*time.Millisecond).Seconds()), 'f', -1, 64) + " s"
	case seconds < 60:
		return plain(seconds, "s")
	case seconds < 90*60:
		return plain(seconds/60, "min")
	case seconds < 48*3600:
		if minutes := seconds / 60 % 60; minutes > 0 && seconds < 10*3600 {
			return plain(seconds/3600, "h") + " " + plain(minutes, "min")
		}
		return plain(seconds/3600, "h")
	default:
		return plain(seconds/86400, "days")
	}
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// causes are what a person makes of the errors that networks give, by what is in
// their text, the more telling first. HOST is the server.
var causes = []struct{ in, words string }{
	{"connection refused", "connection refused by HOST"},
	{"no such host", "the name HOST is not known: no network, or a wrong name"},
	{"server misbehaving", "the name HOST cannot be looked up"},
	{"network is unreachable", "no network"},
	{"no route to host", "there is no way to HOST"},
	{"connection reset", "HOST cut the connection"},
	{"broken pipe", "HOST cut the connection"},
	{"EOF", "HOST cut the connection"},
	{"x509:", "the certificate of HOST is not to be trusted"},
	{"i/o timeout", "no answer from HOST in time"},
	{"deadline exceeded", "no answer from HOST in time"},
	{"Client.Timeout", "no answer from HOST in time"},
	{"TLS handshake timeout", "no answer from HOST in time"},
}

var answered = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`the server answered (\d{3}[A-Za-z ]*)`) })

// causeOf puts an error of an upload into words. What it does not know it leaves as
// it is.
func causeOf(text, server string) string {
	if server == "" {
		server = "the server"
	}
	if m := answered().FindStringSubmatch(text); m != nil {
		return server + " answered " + strings.TrimSpace(m[1])
	}
	for _, c := range causes {
		if strings.Contains(text, c.in) {
			return strings.ReplaceAll(c.words, "HOST", server)
		}
	}
	return text
}
