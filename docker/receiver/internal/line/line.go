// Package line reads and writes the JSON lines of VictoriaMetrics' /api/v1/import and /api/v1/export: one object a
// line, with the labels of one series and its samples.
//
//	{"metric":{"__name__":"cpu_usage_percent","device_id":"d"},"values":[1.5,2],"timestamps":[1700000000000,1700000001000]}
//
// It promises that a line is judged sample by sample: a value that is no number, or a timestamp nobody can mean, costs
// that sample and no other, and each refusal carries a reason. Labels come out in one canonical form, so that equal
// series have equal text. It does not know what is stored already, and it does not keep the text it was given.
//
// The format: https://docs.victoriametrics.com/victoriametrics/single-server-victoriametrics/#json-line-format
package line

import (
	"fmt"
	"slices"
	"strconv"
)

// MinTimestamp and MaxTimestamp bound the timestamps that are believed, in milliseconds since 1970: 3 March 1973 to the
// end of the year 9999. Seconds written where milliseconds belong fall below the first, microseconds above the second.
const (
	MinTimestamp = 100_000_000_000
	MaxTimestamp = 253_402_300_799_999
)

// MaxSamples is the most samples that one line may hold.
const MaxSamples = 1_000_000

// Line is one series with the samples that may be stored. Timestamps and Values have the same length.
type Line struct {
	// Metric is the canonical JSON object of Labels: sorted by name, no spaces, no empty values.
	Metric string
	Labels Labels

	Timestamps []int64 // milliseconds since 1970
	Values     []float64

	// Rejects holds the samples that were left out, one entry for each reason.
	Rejects []Reject
}

// Samples is how many samples the line held, those that were left out among them.
func (l *Line) Samples() int {
	n := len(l.Timestamps)
	for _, r := range l.Rejects {
		n += len(r.Timestamps)
	}
	return n
}

// Reject is a group of samples of one line that are refused for the same reason.
type Reject struct {
	Reason     string
	Timestamps []int64 // milliseconds since 1970
}

// Error says why a whole line is refused.
type Error struct {
	Reason string
	// Samples is how many samples the line held; 1 where the line cannot be read so far as to tell.
	Samples int
}

func (e *Error) Error() string { return e.Reason }

// Parser reads lines. It keeps its buffers between them, so one goroutine at a time may use it.
type Parser struct {
	// Oldest refuses samples before this time, in milliseconds since 1970; 0 refuses none.
	Oldest int64
	// MaxLabels refuses lines with more labels, the name among them; 0 means the constant of that name.
	MaxLabels int

	values     []float64
	bad        []badValue
	timestamps []int64
}

// badValue marks an element of values that is not a finite number.
type badValue struct {
	index  int
	reason string
}

const (
	reasonNotNumber   = "value is not a number"
	reasonOutOfRange  = "value is out of the range of a 64-bit float"
	reasonTooEarly    = "timestamp is before 1973; timestamps are in milliseconds since 1970"
	reasonTooLate     = "timestamp is after the year 9999; timestamps are in milliseconds since 1970"
	reasonExpired     = "timestamp is older than the retention"
	reasonNotIntegers = "timestamps are not integers of milliseconds since 1970"
)

// Parse reads one line, with or without its line end. The error is an *Error: then nothing of the line may be stored.
// The Line does not refer to b.
func (p *Parser) Parse(b []byte) (Line, error) {
	raw, err := p.fields(b)
	if err != nil {
		return Line{}, err
	}
	held := max(len(p.values), len(p.timestamps))
	switch {
	case raw == nil:
		return Line{}, &Error{"no \"metric\" object", held}
	case len(p.values) != len(p.timestamps):
		return Line{}, &Error{fmt.Sprintf("%d values but %d timestamps", len(p.values), len(p.timestamps)), held}
	case held == 0:
		return Line{}, &Error{"no samples", 0}
	}
	labels, err := ParseLabels(raw)
	if err != nil {
		return Line{}, &Error{err.Error(), held}
	}
	if p.MaxLabels > 0 && len(labels) > p.MaxLabels {
		return Line{}, &Error{fmt.Sprintf("more than %d labels", p.MaxLabels), held}
	}
	l := Line{Metric: labels.String(), Labels: labels}
	p.judge(&l)
	return l, nil
}

// fields walks over the object and fills p.values, p.bad and p.timestamps. It returns the text of the metric object,
// nil where there is none.
func (p *Parser) fields(b []byte) (metric []byte, err error) {
	p.values, p.bad, p.timestamps = p.values[:0], p.bad[:0], p.timestamps[:0]
	// The reason for which the line must be refused although its JSON can be read to the end.
	var fault string
	var seen [3]bool
	once := func(i int, key []byte) {
		if seen[i] {
			fault = fmt.Sprintf("field %q stands twice", key)
		}
		seen[i] = true
	}

	c := cursor{b: b}
	if c.skipSpace(); c.peek() != '{' {
		return nil, &Error{"not a JSON object", 1}
	}
	list := func(key []byte, element func() error) error {
		if c.skipSpace(); c.peek() != '[' {
			return fmt.Errorf("field %q is not an array", key)
		}
		return c.array(func() error {
			if max(len(p.values), len(p.timestamps)) > MaxSamples {
				return fmt.Errorf("more than %d samples", MaxSamples)
			}
			return element()
		})
	}
	err = c.object(func(key []byte) error {
		switch string(key) {
		case "metric":
			once(0, key)
			start := c.skipSpace()
			if err := c.skip(0); err != nil {
				return err
			}
			metric = c.b[start:c.i]
			return nil
		case "values":
			once(1, key)
			return list(key, func() error { return p.value(&c) })
		case "timestamps":
			once(2, key)
			return list(key, func() error {
				reason, err := p.timestamp(&c)
				if reason != "" {
					fault = reason
				}
				return err
			})
		}
		return c.skip(0)
	})
	if err == nil {
		err = c.end()
	}
	if err != nil {
		return nil, &Error{err.Error(), 1}
	}
	if fault != "" {
		return nil, &Error{fault, max(len(p.values), len(p.timestamps))}
	}
	return metric, nil
}

// value reads one element of values. Anything but a number is remembered as bad. That includes the bare words NaN and
// Infinity, which are no JSON, but which writers that know no better do send among good values.
func (p *Parser) value(c *cursor) error {
	start := c.skipSpace()
	if c.word() {
		p.addBad(reasonNotNumber)
		return nil
	}
	switch c.peek() {
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
	default:
		p.addBad(reasonNotNumber)
		return c.skip(0)
	}
	if _, err := c.number(); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(string(c.b[start:c.i]), 64)
	if err != nil {
		// The grammar is checked, so it can only be the range.
		p.addBad(reasonOutOfRange)
		return nil
	}
	p.values = append(p.values, v)
	return nil
}

func (p *Parser) addBad(reason string) {
	p.bad = append(p.bad, badValue{len(p.values), reason})
	p.values = append(p.values, 0)
}

// timestamp reads one element of timestamps. A reason means that it is no integer: then the samples of the line can
// no longer be told apart in an answer, and the whole line is refused.
func (p *Parser) timestamp(c *cursor) (reason string, err error) {
	start := c.skipSpace()
	switch c.peek() {
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
	default:
		p.timestamps = append(p.timestamps, 0)
		return reasonNotIntegers, c.skip(0)
	}
	integer, err := c.number()
	if err != nil {
		return "", err
	}
	var ts int64
	if integer {
		ts, err = strconv.ParseInt(string(c.b[start:c.i]), 10, 64)
	}
	p.timestamps = append(p.timestamps, ts)
	if !integer || err != nil {
		return reasonNotIntegers, nil
	}
	return "", nil
}

// judge sorts the samples into those to store and those to refuse.
func (p *Parser) judge(l *Line) {
	good, bad := 0, p.bad
	for i, ts := range p.timestamps {
		reason := ""
		switch {
		case len(bad) > 0 && bad[0].index == i:
			reason, bad = bad[0].reason, bad[1:]
		case ts < MinTimestamp:
			reason = reasonTooEarly
		case ts > MaxTimestamp:
			reason = reasonTooLate
		case ts < p.Oldest:
			reason = reasonExpired
		}
		if reason != "" {
			l.reject(reason, ts)
			continue
		}
		p.timestamps[good], p.values[good] = ts, p.values[i]
		good++
	}
	l.Timestamps = slices.Clone(p.timestamps[:good])
	l.Values = slices.Clone(p.values[:good])
}

func (l *Line) reject(reason string, ts int64) {
	i := slices.IndexFunc(l.Rejects, func(r Reject) bool { return r.Reason == reason })
	if i < 0 {
		i = len(l.Rejects)
		l.Rejects = append(l.Rejects, Reject{Reason: reason})
	}
	l.Rejects[i].Timestamps = append(l.Rejects[i].Timestamps, ts)
}
