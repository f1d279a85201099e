package upstream

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"

	"belabox-metrics/docker/receiver/internal/line"
)

// samplesPerLine cuts long lines: VictoriaMetrics refuses one above 10 MB (-import.maxLineLen), and what we write may be
// longer than what we read.
const samplesPerLine = 20_000

var zips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid one
	return z
}}

// encode writes the lines anew. What the server reads is made of what was checked, so that no text which two parsers
// read in two ways gets from a sender to it.
func encode(lines []line.Line) ([]byte, error) {
	var out bytes.Buffer
	z := zips.Get().(*gzip.Writer)
	defer zips.Put(z)
	z.Reset(&out)
	var text []byte
	for i := range lines {
		l := &lines[i]
		for from := 0; from < len(l.Timestamps); from += samplesPerLine {
			to := min(from+samplesPerLine, len(l.Timestamps))
			text = line.Append(text[:0], l.Metric, l.Timestamps[from:to], l.Values[from:to])
			if _, err := z.Write(text); err != nil {
				return nil, err
			}
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
