package once

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// row is one line of the table.
type row struct {
	name, labels, value string
	order               int // of the metric in sample.Table
	group               string
}

// writeTable writes a table of the samples in the order of sample.Table, with
// an empty line between collectors. Labels that all samples have from the
// configuration are shown once, above it.
func writeTable(w io.Writer, tick *schedule.Tick) error {
	order := make(map[string]int, len(sample.Table))
	for i := range sample.Table {
		order[sample.Table[i].Name] = i
	}
	rows := make([]row, 0, len(tick.Samples))
	header := []string{tick.Time.Format("2006-01-02 15:04:05.000 -07:00") + " "}
	for i := range tick.Samples {
		s := &tick.Samples[i]
		metric := &metrics.Metric{}
		at, known := order[s.Series.Name]
		if known {
			metric = &sample.Table[at]
		} else {
			at = len(order)
		}
		tags, err := store.ParseTags(s.Series.Tags)
		if err != nil {
			return err
		}
		var ofMetric, common []string
		for _, tag := range tags {
			text := human.Printable(tag.Name + "=" + strconv.Quote(tag.Value))
			if !known || slices.Contains(metric.Labels, tag.Name) {
				ofMetric = append(ofMetric, text)
			} else {
				common = append(common, text)
			}
		}
		if i == 0 {
			header = append(append(header, "device_id="+human.Printable(strconv.Quote(s.Series.Device))), common...)
		}
		rows = append(rows, row{s.Series.Name, strings.Join(ofMetric, " "), show(metric, s), at, metric.Collector})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.order - b.order })

	var nameWidth, labelWidth int
	for _, r := range rows {
		nameWidth = max(nameWidth, utf8.RuneCountInString(r.name))
		labelWidth = max(labelWidth, utf8.RuneCountInString(r.labels))
	}
	if _, err := fmt.Fprintln(w, strings.Join(header, " ")); err != nil {
		return err
	}
	for i, r := range rows {
		gap := ""
		if i == 0 || r.group != rows[i-1].group {
			gap = "\n"
		}
		if _, err := fmt.Fprintf(w, "%s%-*s  %-*s  %s\n", gap, nameWidth, r.name, labelWidth, r.labels, r.value); err != nil {
			return err
		}
	}
	return nil
}

// show writes a value with its unit as a person reads it.
func show(m *metrics.Metric, s *store.Sample) string {
	if s.Series.Type == store.Text {
		// Quoted only where it must be.
		if quoted := human.Printable(strconv.Quote(s.Text)); quoted != `"`+s.Text+`"` {
			return quoted
		}
		return s.Text
	}
	v := s.Value
	switch {
	case strings.HasSuffix(m.Name, "_time_seconds"):
		return time.Unix(int64(v), 0).Format("2006-01-02 15:04:05 -07:00")
	case m.Unit == "bytes":
		return human.Bytes(int64(v))
	case m.Unit == "bytes per second":
		return human.Bytes(int64(v)) + "/s"
	case m.Unit == "hertz":
		return number(v/1e6) + " MHz"
	case m.Unit == "seconds" && v >= 60:
		return human.Duration(time.Duration(v * float64(time.Second)))
	case m.Unit == "percent":
		return number(v) + " %"
	case m.Unit == "celsius":
		return number(v) + " °C"
	case m.Unit == "per second":
		return number(v) + " /s"
	case m.Unit == "":
		return number(v)
	}
	return number(v) + " " + m.Unit
}

// number writes whole numbers whole and others with two decimals.
func number(v float64) string {
	if v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
