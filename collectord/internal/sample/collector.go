// Package sample turns kernel numbers into samples: deltas, rates, counter
// resets and the table of every metric of this machine. It promises that a
// sample is right or absent: a failing sensor, a first reading or a counter that
// went backwards gives no sample, never a 0.
package sample

import (
	"slices"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// Collector reads one source. Collectors are independent: one that fails or
// hangs costs the others nothing. A Collector is used by one goroutine at a time.
type Collector interface {
	// Name is the key under collection.collectors.
	Name() string
	// Collect appends what it has read to out. at is when this tick is read, with
	// its monotonic part, and is what rates divide by. An error means that the
	// source as a whole failed; a single bad sensor is reported by out.Fail.
	Collect(at time.Time, out *Batch) error
}

// Batch is what one collector read in one tick. It is reused from tick to tick.
type Batch struct {
	Samples []store.Sample
	Dated   []*store.Dated // samples with a time of their own, until the store has decided about them
	Errors  []error        // one for each sensor or value that failed, a *Fault where it has a name

	at     time.Time // of the tick
	ignore Ignored

	// Came and Gone name the interfaces that are there since this tick, or no longer:
	// why a series begins or ends. What the first tick finds has not come.
	Came, Gone []string
}

// AddText appends a string.
func (b *Batch) AddText(s *Series, text string) {
	b.Samples = append(b.Samples, store.Sample{Series: s.Series, Text: text})
}

// Fail reports a sensor, value or device that gave no sample, with the parts of its name. Without
// any it has the name of the file in err.
func (b *Batch) Fail(err error, name ...string) {
	if len(name) == 0 {
		name = proc.FileOf(err)
	}
	if !b.ignore.has(name...) {
		b.Errors = append(b.Errors, &Fault{name, err})
	}
}

// failPart reports an error that left n things to sample. With none it is that of
// the whole source, and returned.
func (b *Batch) failPart(n int, err error) error {
	if err == nil || n == 0 {
		return err
	}
	b.Fail(err)
	return nil
}

// part reports the error of a reading whose good values were added. Without any it is that of the
// whole source, and returned.
func (b *Batch) part(err error) error { return b.failPart(len(b.Samples), err) }

// Begin empties the batch for a tick and keeps its memory. What ignore matches is not
// read, if it is a sensor, and does not count as a failure.
func (b *Batch) Begin(at time.Time, ignore Ignored) {
	b.at, b.ignore = at, ignore
	clear(b.Samples)
	clear(b.Dated)
	clear(b.Errors)
	b.Samples, b.Dated, b.Errors = b.Samples[:0], b.Dated[:0], b.Errors[:0]
	b.Came, b.Gone = nil, nil // the caller may keep them
}

// Registry makes the series of one device. Every series carries the device's
// own labels besides those of the metric.
type Registry struct {
	Device string
	Labels map[string]string // device.labels of the configuration
	Node   *Node             // makes the series of node_exporter; nil = they are off
}

// Series makes the series of a metric of the Table with one value for each of its
// labels. The label of a metric wins over a device label of the same name. An
// unknown name or a wrong number of values is a mistake in the program and panics.
func (r *Registry) Series(name string, values ...string) *Series {
	m := tableByName[name]
	if m == nil || len(values) != len(m.Labels) {
		panic("sample: metric " + name + " is not in the table, or has other labels there")
	}
	tags := make([]store.Tag, 0, len(r.Labels)+len(values))
	for label, value := range r.Labels {
		tags = append(tags, store.Tag{Name: label, Value: value})
	}
	// Map order does not matter: the tags are made canonical. Only that the
	// metric's own labels come last, because of two equal names the last wins.
	for i, label := range m.Labels {
		tags = append(tags, store.Tag{Name: label, Value: values[i]})
	}
	typ := store.Number
	if m.Kind == metrics.Text {
		typ = store.Text
	}
	return &Series{
		Series:   store.NewSeries(r.Device, name, typ, slices.Clip(tags)...),
		parts:    append([]string{name}, values...),
		possible: rangeOf(m), growth: growthOf(m), twin: r.twin(name, values),
	}
}

// each makes the series of several metrics with the same label values.
func (r *Registry) each(names []string, values ...string) []*Series {
	series := make([]*Series, len(names))
	for i, name := range names {
		series[i] = r.Series(name, values...)
	}
	return series
}
