package sample

import "slices"

// Kind is how a metric behaves.
type Kind string

const (
	KindGauge   Kind = "gauge"   // goes up and down
	KindCounter Kind = "counter" // only grows, except at a reset of its source
	KindText    Kind = "text"    // a string, stored when it changes, never shipped
)

// Metric describes one metric name. The same table makes the series and
// docs/metrics.md, so the two cannot differ.
type Metric struct {
	Name      string   // with dots; VictoriaMetrics sees underscores
	Kind      Kind     // gauge, counter or text
	Unit      string   // "bytes", "percent", "seconds", "celsius", … or "" for a bare count
	Labels    []string // label names of its own, in the order Registry.Series takes values
	Help      string   // one sentence: what it is, its range and its oddities
	Source    string   // the kernel file it comes from
	Collector string   // the key under collection.collectors
}

//go:generate go test . -run ^TestMetricsDoc$ -update

// Catalog describes every metric, collector by collector in the order in which
// a tick reads them. Each collector's own table stands in its file.
var Catalog = slices.Concat(
	cpuMetrics,
	memoryMetrics,
	loadMetrics,
	systemMetrics,
	pressureMetrics,
	networkMetrics,
	diskMetrics,
	wirelessMetrics,
	thermalMetrics,
	hwmonMetrics,
	filesystemMetrics,
)

// metricsOf returns the metrics of one collector.
func metricsOf(collector string) []*Metric {
	var own []*Metric
	for _, m := range Catalog {
		if m.Collector == collector {
			own = append(own, m)
		}
	}
	return own
}
