// Package metrics holds the self-metrics of a daemon: table.go describes them, a Set holds their
// values, and makes the Prometheus text of /metrics and the rows that reach the server.
//
// It promises that a total continues where the last run of the daemon left it (Restore), that both
// outputs show the same, and that counting never blocks.
package metrics

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"belabox-metrics/shared/store"
)

// Kind is how a metric behaves.
type Kind string

// The kinds, as Prometheus calls them; it has no texts.
const (
	Counter   Kind = "counter"   // only grows, over restarts too
	Gauge     Kind = "gauge"     // goes up and down
	Histogram Kind = "histogram" // shows as _bucket{le}, _sum and _count, all of them totals
	Text      Kind = "text"      // a string: stored when it changes, never sent
)

// Metric describes one name.
type Metric struct {
	Name   string // with dots; "uploader.metrics_uploaded_total"
	Kind   Kind
	Unit   string   // "bytes", "seconds", … or "" for a bare count
	Labels []string // names, in the order in which values are given
	Help   string   // what it is, its range and its oddities

	// Of what collectord samples, empty for self-metrics: the key under
	// collection.collectors, and the kernel file.
	Collector, Source string

	// Range is what a value of what collectord samples can be; the zero Range is that of the unit.
	Range Range
}

// Range are the least and the greatest possible value.
type Range struct{ Min, Max float64 }

// Point is one value of a Set.
type Point struct {
	Name  string // with dots; for a histogram with its ending
	Kind  Kind   // Counter or Gauge: a histogram is made of counters
	Tags  []store.Tag
	Value float64
}

// Set holds the values of one daemon. Safe for use by several goroutines.
type Set struct {
	mu       sync.Mutex
	families []*family
	base     map[string]float64 // what earlier runs had counted, by point
}

// family is a metric with the function that reads its values.
type family struct {
	metric *Metric
	read   func(emit func(name string, kind Kind, tags []store.Tag, value float64))
}

// Total is a counter.
type Total struct{ n atomic.Uint64 } // bits of a float64

// Add adds n, which must not be negative.
func (c *Total) Add(n float64) {
	for {
		old := c.n.Load()
		if c.n.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+n)) {
			return
		}
	}
}

// Inc adds 1.
func (c *Total) Inc() { c.Add(1) }

// Counter adds a counter with the given label values.
func (s *Set) Counter(m *Metric, values ...string) *Total {
	c := &Total{}
	tags := m.tags(Counter, values)
	s.add(m, func(emit func(string, Kind, []store.Tag, float64)) {
		emit(m.Name, Counter, tags, math.Float64frombits(c.n.Load()))
	})
	return c
}

// Func adds a gauge or counter whose values are kept elsewhere. read is called whenever the Set is
// read and calls emit for each combination of label values; it leaves out what it does not know at
// the moment.
func (s *Set) Func(m *Metric, read func(emit func(value float64, labels ...string))) {
	s.add(m, func(emit func(string, Kind, []store.Tag, float64)) {
		read(func(value float64, labels ...string) { emit(m.Name, m.Kind, m.tags(m.Kind, labels), value) })
	})
}

// Distribution is a histogram.
type Distribution struct {
	bounds []float64
	counts []atomic.Uint64 // one for each bound, and one above all
	sum    Total
}

// Observe counts one value.
func (h *Distribution) Observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v) // bounds are inclusive
	h.counts[i].Add(1)
	h.sum.Add(v)
}

// Histogram adds a histogram with the given upper bounds, ascending.
func (s *Set) Histogram(m *Metric, bounds ...float64) *Distribution {
	if !slices.IsSorted(bounds) || len(m.Labels) != 0 {
		panic("metrics: " + m.Name + ": bounds must ascend, and labels are not supported")
	}
	h := &Distribution{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
	s.add(m, func(emit func(string, Kind, []store.Tag, float64)) {
		var below uint64
		for i := range h.counts {
			below += h.counts[i].Load()
			le := "+Inf"
			if i < len(bounds) {
				le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
			}
			emit(m.Name+"_bucket", Counter, []store.Tag{{Name: "le", Value: le}}, float64(below))
		}
		emit(m.Name+"_sum", Counter, nil, math.Float64frombits(h.sum.n.Load()))
		emit(m.Name+"_count", Counter, nil, float64(below))
	})
	return h
}

// tags pairs label names with values; a mismatch is a mistake in the program.
func (m *Metric) tags(kind Kind, values []string) []store.Tag {
	if len(values) != len(m.Labels) || m.Kind != kind {
		panic(fmt.Sprintf("metrics: %s is a %s with labels %q, used as a %s with %q", m.Name, m.Kind, m.Labels, kind, values))
	}
	tags := make([]store.Tag, len(values))
	for i, v := range values {
		tags[i] = store.Tag{Name: m.Labels[i], Value: v}
	}
	return tags
}

func (s *Set) add(m *Metric, read func(func(string, Kind, []store.Tag, float64))) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.families = append(s.families, &family{metric: m, read: read})
}

// Points returns all current values, totals with those of earlier runs.
func (s *Set) Points() []Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	var points []Point
	for _, f := range s.families {
		f.read(func(name string, kind Kind, tags []store.Tag, value float64) {
			if kind == Counter {
				value += s.base[key(name, tags)]
			}
			points = append(points, Point{name, kind, tags, value})
		})
	}
	return points
}

// Restore makes the totals continue from those of an earlier run. It ignores gauges and unknown
// names.
func (s *Set) Restore(points []Point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = map[string]float64{}
	for _, p := range points {
		if p.Kind == Counter && !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
			s.base[key(p.Name, p.Tags)] = p.Value
		}
	}
}

func key(name string, tags []store.Tag) string { return name + store.CanonicalTags(tags) }
