package doctor

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shipperd/internal/human"
)

// The flags of VictoriaMetrics that decide what becomes of accepted samples.
const (
	flagRetention = "retentionPeriod"
	flagDedup     = "dedup.minScrapeInterval"
	flagFlush     = "inmemoryDataFlushInterval" // since v1.85; 5s before
)

// flag returns what the server says of a flag, else a Check that says why not.
func (d *doctor) flag(ctx context.Context, c Check, name string) (value string, _ Check, ok bool) {
	if d.Client == nil || !d.answers(ctx) {
		c.Status, c.Detail = Unknown, notConnected
		return "", c, false
	}
	if value, ok = d.flags[name]; !ok {
		c.Status, c.Detail = Unknown, "unknown: the server does not show its flag -"+name
		return "", c, false
	}
	return value, c, true
}

// retention compares how far back the server stores with what it is sent.
func (d *doctor) retention(ctx context.Context) Check {
	text, c, ok := d.flag(ctx, Check{Name: "retention", Status: OK}, flagRetention)
	if !ok {
		return c
	}
	retention, ok := parseRetention(text)
	if !ok {
		c.Status, c.Detail = Unknown, fmt.Sprintf("the server's -%s=%s is not understood", flagRetention, text)
		return c
	}
	maxPast := d.Config.Remote.MaxPast
	c.Detail = fmt.Sprintf("the server keeps %s, remote.max_past is %s", human.Duration(retention), human.Duration(maxPast))
	oldest := d.oldestPending(ctx)
	switch {
	case maxPast >= retention:
		c.Status = Fail
		c.Detail += ": it answers 204 to what is older, and throws it away"
		if oldest > retention {
			c.Detail += fmt.Sprintf("; the oldest pending sample is from %s ago", human.Duration(oldest))
		}
		c.Fix = fmt.Sprintf("set remote.max_past: %dh, or start the server with a longer -%s", int64(withMargin(retention).Hours()), flagRetention)
	case oldest > maxPast:
		c.Status = Warn
		c.Detail += fmt.Sprintf("; the oldest pending sample is from %s ago: it will be stored with the oldest time that the server takes", human.Duration(oldest))
		c.Fix = "start the server with a longer -" + flagRetention + " and raise remote.max_past, if the true times matter"
	}
	return c
}

// withMargin leaves room for the time that a chunk takes until it is stored.
func withMargin(retention time.Duration) time.Duration {
	return max(time.Hour, (retention - min(24*time.Hour, retention/10)).Truncate(time.Hour))
}

// oldestPending is the age of the oldest pending row, 0 = none is known.
func (d *doctor) oldestPending(ctx context.Context) time.Duration {
	file, err := d.open(ctx)
	if err != nil {
		return 0
	}
	waiting, err := file.Backlog(ctx)
	if err != nil || waiting.Rows == 0 {
		return 0
	}
	return d.Now().Sub(time.UnixMilli(waiting.OldestMS))
}

// deduplication looks for a server that thins samples out.
func (d *doctor) deduplication(ctx context.Context) Check {
	text, c, ok := d.flag(ctx, Check{Name: "deduplication", Status: OK}, flagDedup)
	if !ok {
		return c
	}
	dedup, ok := parseFlagDuration(text)
	if !ok {
		c.Status, c.Detail = Unknown, fmt.Sprintf("the server's -%s=%s is not understood", flagDedup, text)
		return c
	}
	interval := d.shortestInterval()
	switch {
	case dedup <= 0:
		c.Detail = "off"
	case dedup <= time.Millisecond:
		c.Detail = "1ms: it drops nothing but true doubles"
	case dedup <= interval:
		c.Status = Warn
		c.Detail = fmt.Sprintf("the server keeps one sample of each %s, which is just what is sent", dedup)
		c.Fix = "start the server with -" + flagDedup + "=1ms, or not at all with this flag: a tick out of line is thrown away"
	default:
		c.Status = Fail
		c.Detail = fmt.Sprintf("the server keeps one sample of each %s, and one is sent every %s: it throws the others away", dedup, interval)
		c.Fix = "start the server with -" + flagDedup + "=1ms, or set collection.interval to " + dedup.String()
	}
	return c
}

// shortestInterval is that of the most frequent collector.
func (d *doctor) shortestInterval() time.Duration {
	shortest := d.Config.Collection.Interval
	for _, c := range d.Config.Collection.Collectors {
		if c.Interval > 0 && (c.Enabled == nil || *c.Enabled) {
			shortest = min(shortest, c.Interval)
		}
	}
	return shortest
}

// verification compares the wait before a proof with how long the server may
// forget what it has accepted.
func (d *doctor) verification(ctx context.Context) Check {
	v := d.Config.Remote.Verify
	c := Check{Name: "verification", Status: OK}
	if !v.Enabled {
		c.Status, c.Detail = Unknown, "switched off, see read-back"
		return c
	}
	c.Detail = fmt.Sprintf("read back %s after the server's 2xx; an absence is believed %s after an attempt", human.Duration(v.Delay), human.Duration(v.Settle))
	flush, ok := parseFlagDuration(d.flags[flagFlush])
	if !ok {
		return c // older servers have no such flag: 5s
	}
	// A killed server loses what has come in since the flush before the last one.
	if need := 2*flush + 5*time.Second; min(v.Delay, v.Settle) < need {
		c.Status = Warn
		c.Detail += fmt.Sprintf("; the server writes to its disk every %s, and forgets what is younger when it is killed", flush)
		c.Fix = fmt.Sprintf("set remote.verify.delay and remote.verify.settle to at least %s", human.Duration(need))
	}
	return c
}

var flagDuration = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(ms|[smhdwMy]?)$`)

const day = 24 * time.Hour

// parseRetention reads -retentionPeriod: a number with a unit, or of months.
// https://docs.victoriametrics.com/victoriametrics/single-server-victoriametrics/#retention
func parseRetention(text string) (time.Duration, bool) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += "M"
	}
	return parseFlagDuration(text)
}

// parseFlagDuration reads a duration as VictoriaMetrics prints it: in Go's form,
// or as one number with a unit up to years. What is longer than a Duration can be
// is cut.
func parseFlagDuration(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	if d, err := time.ParseDuration(text); err == nil {
		return d, true
	}
	m := flagDuration.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	unit := map[string]time.Duration{
		"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": day, "w": 7 * day, "M": 31 * day, "y": 365 * day,
	}[m[2]]
	if err != nil || unit == 0 && n != 0 {
		return 0, false
	}
	return time.Duration(min(n*float64(unit), math.MaxInt64/2)), true
}
