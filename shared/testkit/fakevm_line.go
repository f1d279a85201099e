package testkit

import (
	"bytes"
	"time"

	"belabox-metrics/shared/jsonline"
)

// maxFuture is how far ahead of its clock the server stores samples.
const maxFuture = 48 * time.Hour

// parseLine reads one JSON line. An error means that the server drops it.
func parseLine(line string, extra map[string]string) ([]Sample, error) {
	l, err := jsonline.Parse([]byte(line), extra)
	if err != nil {
		return nil, err
	}
	key := SeriesKey(l.Metric)
	samples := make([]Sample, len(l.Values))
	for i := range samples {
		samples[i] = Sample{Metric: l.Metric, Series: key, Timestamp: l.Timestamps[i], Value: l.Values[i]}
	}
	return samples, nil
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
