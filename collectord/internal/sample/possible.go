package sample

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// unitRanges are what a value can be whose metric has no range of its own. The upper ends are far
// above what there is, and below what a negative number becomes that was printed as an unsigned
// one.
var unitRanges = map[string]metrics.Range{
	"":                 {Max: 1e9},
	"percent":          {Max: 100},
	"bytes":            {Max: 1 << 60},
	"bytes per second": {Max: 5e10}, // 400 Gbit/s
	"per second":       {Max: 1e9},
	"hertz":            {Max: 2e10},
	"seconds":          {Max: 1e10}, // 317 years
	"celsius":          {Min: -100, Max: 250},
	"dBm":              {Min: -256, Max: 100},
	"volts":            {Min: -1000, Max: 1000},
	"amperes":          {Min: -1000, Max: 1000},
	"watts":            {Min: -1e5, Max: 1e5},
	"rpm":              {Max: 1e5},
}

// rangeOf returns what a value of m can be. A counter may have counted for as long as it likes.
func rangeOf(m *metrics.Metric) metrics.Range {
	switch {
	case m.Range != (metrics.Range{}):
		return m.Range
	case m.Kind == metrics.Counter:
		return metrics.Range{Max: 1 << 63}
	}
	r, ok := unitRanges[m.Unit]
	if !ok && m.Kind != metrics.Text {
		panic("sample: metric " + m.Name + " has neither a range nor a unit that has one")
	}
	return r
}

// growthOf returns by how much a counter can grow in a second; 0 for everything else.
func growthOf(m *metrics.Metric) float64 {
	switch {
	case m.Kind != metrics.Counter:
		return 0
	case m.Unit == "bytes":
		return unitRanges["bytes per second"].Max
	}
	return unitRanges["per second"].Max
}

// Series is a series with what its values can be.
type Series struct {
	*store.Series
	parts    []string // of its name in a Fault: metric and label values
	possible metrics.Range

	// Of a counter.
	growth float64 // most per second
	last   float64
	at     time.Time // of last; zero = none

	// twin has the same values under the name that node_exporter gives them, or nil.
	twin *Series
	// Of a series of node_exporter's: how many of what is read make one of its unit, and by less
	// than what a value that goes back counts as the last one.
	per, slack float64
}

// late is by how much a reading may be later than the tick that it belongs to.
const late = time.Second

// check returns why v cannot be a value of this series at a time, or nil.
func (s *Series) check(at time.Time, v float64) error {
	if !(v >= s.possible.Min && v <= s.possible.Max) {
		return fmt.Errorf("impossible value %v: want %v to %v", v, s.possible.Min, s.possible.Max)
	}
	if s.growth == 0 || at.IsZero() {
		return nil
	}
	last, lastAt := s.last, s.at
	s.last, s.at = v, at // the next one is compared with this one, right or not
	if lastAt.IsZero() || v-last <= s.growth*(at.Sub(lastAt)+late).Seconds() {
		return nil
	}
	return fmt.Errorf("impossible growth from %v to %v in %v", last, v, at.Sub(lastAt))
}

// Add appends a number. NaN is a value that is not there, for a reason that is reported elsewhere
// or needs no report. What is impossible is not appended but reported.
func (b *Batch) Add(s *Series, v float64) {
	if math.IsNaN(v) {
		return
	}
	if err := s.check(b.at, v); err != nil {
		b.Fail(err, s.parts...)
		return
	}
	b.Samples = append(b.Samples, store.Sample{Series: s.Series, Value: v})
	if s.twin != nil {
		b.Samples = append(b.Samples, store.Sample{Series: s.twin.Series, Value: v / s.twin.per})
	}
}

// AddPart appends a number that is a part of whole, 0 to whole; whole itself may be NaN.
func (b *Batch) AddPart(s *Series, v, whole float64) {
	if v < 0 || v > whole {
		b.Fail(fmt.Errorf("impossible value %v: want 0 to %v", v, whole), s.parts...)
		return
	}
	b.Add(s, v)
}

// number is a number of package proc, NaN where it is absent.
func number(n uint64) float64 {
	if n == proc.Absent {
		return math.NaN()
	}
	return float64(n)
}

// canHavePassed reports whether one clock can have counted spent while the tick's clock counted
// elapsed, both in seconds. A reading may be later than its tick.
func canHavePassed(spent, elapsed float64) bool { return spent <= 1.5*elapsed+late.Seconds() }

// addShare appends which percentage of elapsed was spent, both in seconds. A little more than all
// of it is all of it; what cannot have passed has no share and is reported.
func (b *Batch) addShare(s *Series, spent, elapsed float64) {
	if spent > elapsed && canHavePassed(spent, elapsed) {
		spent = elapsed
	}
	b.Add(s, quotient(100*(spent/elapsed)))
}

// Fault is the failure of one sensor, value or device.
type Fault struct {
	Parts []string // of its name
	Err   error
}

// Name is what collection.ignore_sensors matches: thermal_zone0/soc-thermal, meminfo.
func (f *Fault) Name() string { return strings.Join(f.Parts, "/") }

func (f *Fault) Error() string {
	if len(f.Parts) == 0 {
		return f.Err.Error()
	}
	return f.Name() + ": " + f.Err.Error()
}

func (f *Fault) Unwrap() error { return f.Err }

// Ignored are the patterns of collection.ignore_sensors.
type Ignored []*regexp.Regexp

// NewIgnored compiles them. A wrong expression is an error.
func NewIgnored(patterns []string) (Ignored, error) {
	return compileNames("collection.ignore_sensors", patterns)
}

// has reports whether a pattern matches a name or one of its parts.
func (i Ignored) has(parts ...string) bool {
	return len(i) > 0 && (matchesAny(i, strings.Join(parts, "/")) || slices.ContainsFunc(parts, func(p string) bool { return matchesAny(i, p) }))
}
