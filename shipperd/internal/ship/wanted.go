package ship

import (
	"context"
	"slices"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// pieceSamples bounds the samples of one read, so that its answer, some 7 B per sample, arrives
// over a slow link within remote.timeout.
const pieceSamples = 20_000

// wanted is the list of samples that a chunk should have at the server; what the
// server shows is crossed off.
type wanted struct {
	chunkID int64
	lines   []wantedLine
	series  map[string][]int // label text → lines; a series may have several, two series may share a text
	labels  map[string]bool  // the names of all labels that our series use

	selectors []victoria.Selector // one for each device
	pieces    []piece             // what is still to be read, oldest first
}

// wantedLine is a line of the body.
type wantedLine struct {
	text    string
	name    string // of the metric, as sent
	device  string
	samples []chunk.Sample // in time order
	found   []bool
}

// piece is a span of milliseconds, both ends inclusive.
type piece struct{ from, to int64 }

// wanted lists the samples of a chunk as they were sent, with Prometheus names and clamped
// timestamps. A list that was partly read is continued: what was found stays found. nil = no row
// of the chunk is in the file any more.
func (s *Shipper) wanted(ctx context.Context, c *inflight) (*wanted, error) {
	if err := c.unpack(); err != nil {
		return nil, err
	}
	if w := s.reading.partly; w != nil && w.chunkID == c.ID {
		return w, nil
	}
	req, err := s.rebuild(ctx, c)
	if err != nil || req == nil {
		return nil, err
	}
	body := req.Bodies[0]
	w := &wanted{chunkID: c.ID, series: map[string][]int{}, labels: map[string]bool{}}
	type head struct{ text, name, device string }
	heads := map[int64]head{} // by series id
	names := map[string][]string{}
	for n := range body.Lines() {
		samples := body.Line(n + 1)
		id := samples[0].Key.SeriesID()
		h, known := heads[id]
		if !known {
			info, err := s.Outbox.Series(ctx, id)
			if err != nil {
				return nil, err
			}
			labels := chunk.Labels(info)
			h = head{chunk.Text(labels), chunk.MetricName(info.Name), info.Device}
			heads[id] = h
			names[h.device] = append(names[h.device], h.name)
			for _, l := range labels {
				w.labels[l.Name] = true
			}
		}
		w.series[h.text] = append(w.series[h.text], n)
		w.lines = append(w.lines, wantedLine{h.text, h.name, h.device, samples, make([]bool, len(samples))})
	}
	for device, n := range names {
		slices.Sort(n)
		w.selectors = append(w.selectors, victoria.Selector{DeviceID: device, Names: slices.Compact(n)})
	}
	w.cut(min(pieceSamples, s.readMost()))
	s.reading.partly = w
	return w, nil
}

// cut makes the pieces, of so many samples.
func (w *wanted) cut(most int) {
	var all []int64
	for _, l := range w.lines {
		for _, sample := range l.samples {
			all = append(all, sample.TimestampMS)
		}
	}
	slices.Sort(all)
	for len(all) > 0 {
		n := min(most, len(all))
		for n < len(all) && all[n] == all[n-1] {
			n++ // a tick is not divided
		}
		w.pieces = append(w.pieces, piece{all[0], all[n-1]})
		all = all[n:]
	}
}

// read reads what the server has and crosses it off. done = false, with an error or because the
// present waits: the pieces that were not answered are left, and nothing can be concluded yet.
func (w *wanted) read(ctx context.Context, s *Shipper) (done bool, err error) {
	ours := func(text string) bool { return w.series[text] != nil }
	for len(w.pieces) > 0 {
		if s.presentWaits() {
			return false, nil
		}
		for _, sel := range w.selectors {
			err := s.export(ctx, sel, w.pieces[0].from, w.pieces[0].to, w.labels, ours,
				func(text string, _ []store.Tag, timestamps []int64) { w.crossOff(text, timestamps) })
			if err != nil {
				return false, err
			}
		}
		w.pieces = w.pieces[1:]
	}
	return true, nil
}

// crossOff notes that the server has samples of a series, in time order. Two rows that became the
// same series and timestamp cannot be distinguished: one copy crosses off both.
func (w *wanted) crossOff(text string, timestamps []int64) {
	for _, n := range w.series[text] {
		l := &w.lines[n]
		for _, ts := range timestamps {
			i, found := slices.BinarySearchFunc(l.samples, ts, func(s chunk.Sample, ts int64) int {
				return int(min(1, max(-1, s.TimestampMS-ts)))
			})
			if found {
				l.found[i] = true
			}
		}
	}
}

// missing returns the rows that are not crossed off.
func (w *wanted) missing() store.KeySet {
	var missing store.KeySet
	for _, l := range w.lines {
		for i, sample := range l.samples {
			if !l.found[i] {
				missing = append(missing, sample.Key)
			}
		}
	}
	return missing.Sorted()
}
