package testkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// What a server of 2024 and later takes; Debian's 1.79 cuts off the labels above 30
// where a newer one drops the line.
const (
	maxLabels     = 40
	maxLabelValue = 4 << 10
	maxLabelName  = 256
	maxFuture     = 48 * time.Hour
)

// parseLine reads one JSON line by VictoriaMetrics' rules: one wrong value or
// timestamp makes the whole line invalid, a label that is not text or is empty is
// left out, unknown keys are ignored. (Where the real server differs: a bare NaN,
// which is no JSON, it takes for a number and drops that sample alone.)
func parseLine(line string, extra map[string]string) ([]Sample, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		return nil, err
	}
	var labels map[string]any
	var values, timestamps []json.RawMessage
	for key, to := range map[string]any{"metric": &labels, "values": &values, "timestamps": &timestamps} {
		if err := json.Unmarshal(object[key], to); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	if len(values) == 0 || len(values) != len(timestamps) {
		return nil, fmt.Errorf("%d values and %d timestamps", len(values), len(timestamps))
	}
	metric := map[string]string{}
	for name, value := range labels {
		if text, ok := value.(string); ok && text != "" {
			metric[name] = text
		}
	}
	maps.Copy(metric, extra)
	if err := checkLabels(metric); err != nil {
		return nil, err
	}
	key := SeriesKey(metric)
	samples := make([]Sample, len(values))
	for i := range values {
		value, err := strconv.ParseFloat(string(values[i]), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) { // 1e400 is stored as +Inf
			return nil, err
		}
		timestamp, err := strconv.ParseInt(string(timestamps[i]), 10, 64)
		if err != nil {
			return nil, err
		}
		samples[i] = Sample{Metric: metric, Series: key, Timestamp: timestamp, Value: value}
	}
	return samples, nil
}

func checkLabels(metric map[string]string) error {
	if len(metric) == 0 {
		return errors.New("no labels")
	}
	if len(metric) > maxLabels {
		return fmt.Errorf("%d labels", len(metric))
	}
	for name, value := range metric {
		if len(name) > maxLabelName || len(value) > maxLabelValue {
			return fmt.Errorf("label %.20q is too long", name)
		}
	}
	return nil
}

// splitLines returns the lines that hold something. Of a body that was broken off
// the last line counts only if its newline came.
func splitLines(body []byte, complete bool) (lines []string) {
	for line := range bytes.Lines(body) {
		if !complete && !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, string(line))
		}
	}
	return lines
}

// storable drops the samples outside of the time that the server keeps.
func (cfg FakeConfig) storable(now time.Time, samples []Sample) []Sample {
	first, last := now.Add(-cfg.Retention).UnixMilli(), now.Add(maxFuture).UnixMilli()
	var out []Sample
	for _, s := range samples {
		if s.Timestamp >= first && s.Timestamp <= last {
			out = append(out, s)
		}
	}
	return out
}
