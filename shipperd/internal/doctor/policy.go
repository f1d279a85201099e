package doctor

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/human"
)

// The flags of VictoriaMetrics that decide what becomes of accepted samples.
const (
	flagRetention = "retentionPeriod"
	flagDedup     = "dedup.minScrapeInterval"
	flagFlush     = "inmemoryDataFlushInterval" // since v1.85; 5s before
)

// flag returns the server's value of a flag, else the result of the check.
func (d *doctor) flag(ctx context.Context, name string) (value string, _ Check, known bool) {
	if d.Client == nil || !d.answers(ctx) {
		return "", unknown(notConnected), false
	}
	if value, known = d.flags[name]; !known {
		return "", unknown("the server does not show its flag -" + name), false
	}
	return value, Check{}, true
}

// retention compares how long the server keeps samples with remote.max_past.
func (d *doctor) retention(ctx context.Context) Check {
	text, c, known := d.flag(ctx, flagRetention)
	if !known {
		return c
	}
	retention, parsed := parseRetention(text)
	if !parsed {
		return unknown(fmt.Sprintf("cannot parse the server's -%s=%s", flagRetention, text))
	}
	maxPast := d.Config.Remote.MaxPast
	detail := fmt.Sprintf("the server keeps %s, remote.max_past is %s", human.Duration(retention), human.Duration(maxPast))
	oldest := d.oldestPending(ctx)
	switch {
	case maxPast >= retention:
		detail += "; it answers 204 to older samples and discards them"
		if oldest > retention {
			detail += fmt.Sprintf("; the oldest pending sample is %s old", human.Duration(oldest))
		}
		return fail(detail, fmt.Sprintf("set remote.max_past: %dh, or start the server with a longer -%s", int64(withMargin(retention).Hours()), flagRetention))
	case oldest > maxPast:
		return warn(fmt.Sprintf("%s; the oldest pending sample is %s old and will be sent with the oldest time that the server accepts", detail, human.Duration(oldest)),
			"to keep the true times, start the server with a longer -"+flagRetention+" and raise remote.max_past")
	}
	return ok(detail)
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
	_, now, _ := d.times(ctx, file)
	return now.Sub(time.UnixMilli(waiting.OldestMS))
}

// deduplication compares the server's deduplication interval with that of the samples.
func (d *doctor) deduplication(ctx context.Context) Check {
	text, c, known := d.flag(ctx, flagDedup)
	if !known {
		if d.answers(ctx) && !d.Probe {
			c.Detail += "; doctor -probe finds out by writing"
		}
		return c
	}
	dedup, parsed := parseFlagDuration(text)
	if !parsed {
		return unknown(fmt.Sprintf("cannot parse the server's -%s=%s", flagDedup, text))
	}
	interval := d.shortestInterval()
	switch {
	case dedup <= 0:
		return ok("off")
	case dedup <= time.Millisecond:
		return ok("1ms: removes true duplicates only")
	case dedup <= interval:
		return warn(fmt.Sprintf("the server keeps one sample per %s, exactly the sampling interval", dedup),
			"start the server with -"+flagDedup+"=1ms or without the flag: a tick that is late is discarded")
	}
	return fail(fmt.Sprintf("the server keeps one sample per %s and discards the others; one is sent every %s", dedup, interval),
		"start the server with -"+flagDedup+"=1ms, or set collection.interval to "+dedup.String())
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

// verification compares the delay of reading back with how long the server may lose accepted
// samples.
func (d *doctor) verification(context.Context) Check {
	v := d.Config.Remote.Verify
	if !v.Enabled {
		return unknown("disabled, see read-back")
	}
	detail := fmt.Sprintf("samples are read back %s after the server's 2xx; absence counts %s after an attempt", human.Duration(v.Delay), human.Duration(v.Settle))
	flush, known := parseFlagDuration(d.flags[flagFlush]) // older servers have no such flag: 5s
	// A killed server loses what has come in since the flush before the last one.
	if need := 2*flush + 5*time.Second; known && min(v.Delay, v.Settle) < need {
		return warn(fmt.Sprintf("%s; the server writes to its disk every %s and loses younger samples when it is killed", detail, flush),
			fmt.Sprintf("set remote.verify.delay and remote.verify.settle to at least %s", need))
	}
	return ok(detail)
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
