package sample

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/testkit"
)

func TestTable(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z]+(\.[a-z0-9]+(_[a-z0-9]+)*)+$`)
	label := regexp.MustCompile(`^[a-z]+$`)
	seen := map[string]bool{}
	for _, m := range Table {
		if !name.MatchString(m.Name) || seen[m.Name] {
			t.Errorf("name %q is no metric name or there twice", m.Name)
		}
		seen[m.Name] = true
		// The unit in the name is what a user sees at the server.
		if suffix := map[string]string{
			"percent": "_percent", "celsius": "_celsius", "hertz": "_hertz", "seconds": "_seconds", "dBm": "_dbm",
			"volts": "_volts", "amperes": "_amperes", "watts": "_watts", "rpm": "_rpm",
		}[m.Unit]; !strings.HasSuffix(strings.TrimSuffix(m.Name, "_total"), suffix) {
			t.Errorf("%s has the unit %s and does not end with %s", m.Name, m.Unit, suffix)
		}
		if m.Unit == "bytes" && !strings.Contains(m.Name, "_bytes") {
			t.Errorf("%s is in bytes and does not say so", m.Name)
		}
		if (m.Kind == metrics.Counter) != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s is a %s", m.Name, m.Kind)
		}
		if m.Help == "" || !strings.HasSuffix(m.Help, ".") || m.Source == "" {
			t.Errorf("%s: help %q, source %q", m.Name, m.Help, m.Source)
		}
		for _, l := range m.Labels {
			if !label.MatchString(l) || l == "device_id" {
				t.Errorf("%s has the label %q", m.Name, l)
			}
		}
	}
}

// Each collector describes something, and nothing is described that no
// collector gives; the order is that of a tick.
func TestTable_IsOfTheCollectors(t *testing.T) {
	t.Parallel()
	var order []string
	for _, m := range Table {
		if len(order) == 0 || order[len(order)-1] != m.Collector {
			order = append(order, m.Collector)
		}
	}
	var want []string
	for _, kind := range kinds {
		want = append(want, kind.name)
	}
	want = append(want, "textfile") // has a package of its own
	if got, want := strings.Join(order, " "), strings.Join(want, " "); got != want {
		t.Errorf("table: %s\ncollectors: %s", got, want)
	}
}

// TestMetricsDoc compares docs/metrics.md with the tables; with -update it
// writes the file.
func TestMetricsDoc(t *testing.T) {
	t.Parallel()
	testkit.Golden(t, "../../../../docs/metrics.md", []byte(metricsDoc(Table)))
}

// metricsDoc writes the tables for people.
func metricsDoc(table []metrics.Metric) string {
	var b strings.Builder
	b.WriteString(metricsIntro)
	collector := ""
	for _, m := range table {
		if m.Collector != collector {
			collector = m.Collector
			fmt.Fprintf(&b, "\n## %s\n\n| metric | kind | unit | labels | range | meaning | source |\n| --- | --- | --- | --- | --- | --- | --- |\n", collector)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", m.Name, m.Kind, orDash(m.Unit), labelCell(m.Labels), rangeCell(&m), cell(m.Help), cell(m.Source))
	}
	b.WriteString(selfIntro)
	for _, self := range []struct {
		daemon  string
		metrics []*metrics.Metric
	}{{"collectord", metrics.Collectord}, {"shipperd", metrics.Shipperd}} {
		fmt.Fprintf(&b, "\n### %s\n\n| metric | kind | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n", self.daemon)
		for _, m := range self.metrics {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Kind, orDash(m.Unit), labelCell(m.Labels), cell(m.Help))
		}
	}
	return b.String()
}

const selfIntro = `
## Self-metrics

Both daemons expose self-metrics at ` + "`/metrics`" + ` of their ports. Once a minute collectord also stores
them as samples, for both daemons. Totals continue after a restart. A **histogram** ` + "`x`" + ` arrives as
` + "`x_bucket{le}`, `x_sum` and `x_count`" + `.
`

// rangeCell writes powers of two as such.
func rangeCell(m *metrics.Metric) string {
	if m.Kind == metrics.Text {
		return "–"
	}
	end := func(v float64) string {
		if fraction, exponent := math.Frexp(v); fraction == 0.5 && exponent > 10 {
			return fmt.Sprintf("2^%d", exponent-1)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	r := rangeOf(m)
	return end(r.Min) + " to " + end(r.Max)
}

func orDash(text string) string { return cmp.Or(text, "–") }

func labelCell(labels []string) string {
	if len(labels) == 0 {
		return "–"
	}
	return "`" + strings.Join(labels, "`, `") + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

const metricsIntro = `# Metrics

This file is generated from the table that collectord uses:
` + "`go test ./collectord/internal/sample -run TestMetricsDoc -update`" + `.

In VictoriaMetrics the names have underscores instead of dots: ` + "`cpu.usage_percent`" + ` is stored as
` + "`cpu_usage_percent`" + `. Every series also has the label ` + "`device_id`" + ` and the labels of
` + "`device.labels`" + `. Each section is a key under ` + "`collection.collectors`" + `, where it can be disabled or
given its own interval.

` + "`collection.node_exporter.enabled`" + ` adds the series of node_exporter, under its names, which
[from-node-exporter.md](from-node-exporter.md#which-series-there-are) lists.

- A **gauge** can go up and down. A **counter** only increases, except when its source restarts. A
  **text** is a string: it is stored when collectord starts, when it changes and once an hour, and
  it is not sent to VictoriaMetrics.
- A missing sample is better than a wrong one. A value that needs two readings has no sample for the
  first reading, or after a counter went backwards. A failing sensor has no sample, never a 0.
- Impossible values are not stored but reported: a value outside its range, a counter that grew by
  more than 5·10¹⁰ bytes or 10⁹ of anything else per second, a part that is larger than its whole
  (available memory, free space), a share of more time than has passed. An invalid number in a
  kernel file affects only its own metric, not those beside it.
- A device is identified by more than its name: an interface with a different ` + "`ifindex`" + `, and a disk
  with a different device number, size or sequence number, counts as new and has no rate at its
  first reading. This is checked whenever the kernel has counted an event of a device
  (/sys/kernel/uevent_seqnum, which the sandbox of the unit and containers leave readable); where
  that number cannot be read, it is checked at every reading.
- What is slow to read or hardly changes is **read once a minute**, in the first tick of the minute,
  and has a sample only then.
- A **sensor** or value that will not come back can be left out with ` + "`collection.ignore_sensors`" + `.
- Rates and shares refer to the time between two readings, not counting suspend: during a suspend
  the counters of the kernel stop, and so does the clock by which rates are computed.
- On systems other than Linux all values are generated, so that the programs can be tried there:
  slow waves and straight lines that do not describe the machine.
`
