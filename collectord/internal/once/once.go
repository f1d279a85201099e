// Package once prints one tick. It promises that the output is complete: every sample, every
// failure and every collector without a source on this machine. The JSON lines are a stable format;
// the table is not.
package once

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"belabox-metrics/collectord/internal/schedule"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
)

// Write writes the samples of a tick to out, as a table for people or as JSON
// lines, and what failed to errs.
func Write(out, errs io.Writer, tick *schedule.Tick, table bool) error {
	w := bufio.NewWriter(out)
	write := writeJSON
	if table {
		write = writeTable
	}
	if err := write(w, tick); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return writeFailures(errs, tick)
}

// line is one sample as JSON, with the columns of the view metric_rows.
type line struct {
	DeviceID    string          `json:"device_id"`
	TimestampMS int64           `json:"timestamp_ms"`
	Name        string          `json:"name"`
	Tags        json.RawMessage `json:"tags"`
	Value       *float64        `json:"value,omitempty"`
	ValueText   *string         `json:"value_text,omitempty"`
}

func writeJSON(w io.Writer, tick *schedule.Tick) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range tick.Samples {
		s := &tick.Samples[i]
		l := line{
			DeviceID:    s.Series.Device,
			TimestampMS: tick.Time.UnixMilli(),
			Name:        s.Series.Name,
			Tags:        json.RawMessage(s.Series.Tags),
		}
		if s.Series.Type == store.Text {
			l.ValueText = &s.Text
		} else {
			l.Value = &s.Value
		}
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("write %s: %w", s.Series.Name, err)
		}
	}
	return nil
}

// writeFailures writes a line for each failure, and one for all collectors that
// found nothing to read.
func writeFailures(w io.Writer, tick *schedule.Tick) error {
	var b strings.Builder
	var absent []string
	for _, r := range tick.Results {
		if r.Err != nil {
			fmt.Fprintf(&b, "%s: %s\n", r.Collector, human.Printable(r.Err.Error()))
		}
		for _, err := range r.Errors {
			fmt.Fprintf(&b, "%s: %s\n", r.Collector, human.Printable(err.Error()))
		}
		if r.Unsupported {
			absent = append(absent, r.Collector)
		}
	}
	if len(absent) > 0 {
		fmt.Fprintf(&b, "not on this machine: %s\n", strings.Join(absent, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
