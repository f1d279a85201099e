package store

import (
	"context"
	"path/filepath"
	"testing"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/selector"
)

const t0 = int64(1700000000000)

// newStore opens a store that is closed when the test ends.
func newStore(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "receiver.db") }

// series makes a line with samples (t0, first), (t0+1000, first+1), ...
func series(name, device string, first float64, count int) line.Line {
	labels := line.Labels{{Name: line.NameLabel, Value: name}, {Name: line.DeviceLabel, Value: device}}
	l := line.Line{Metric: labels.String(), Labels: labels}
	for i := range count {
		l.Timestamps = append(l.Timestamps, t0+int64(i)*1000)
		l.Values = append(l.Values, first+float64(i))
	}
	return l
}

func write(t testing.TB, s *Store, lines ...line.Line) {
	t.Helper()
	if err := s.Write(context.Background(), lines); err != nil {
		t.Fatal(err)
	}
}

// contents is what Select gives, by metric and timestamp.
type contents map[string]map[int64]float64

func (c contents) samples() int {
	n := 0
	for _, m := range c {
		n += len(m)
	}
	return n
}

func (c contents) add(lines []line.Line) {
	for _, l := range lines {
		if c[l.Metric] == nil {
			c[l.Metric] = make(map[int64]float64)
		}
		for i, ts := range l.Timestamps {
			c[l.Metric][ts] = l.Values[i]
		}
	}
}

func (c contents) prune(before int64) (removed int64) {
	for metric, samples := range c {
		for ts := range samples {
			if ts < before {
				delete(samples, ts)
				removed++
			}
		}
		if len(samples) == 0 {
			delete(c, metric)
		}
	}
	return removed
}

// readAll selects and checks on the way what every Select promises: samples in order of time, pieces that are full
// except for a series' last, no series twice.
func readAll(t fataler, s *Store, q Query) contents {
	t.Helper()
	got := make(contents)
	last, lastTime, full := "", int64(0), false
	err := s.Select(context.Background(), q, func(p *Piece) error {
		if p.Metric != last {
			if got[p.Metric] != nil {
				t.Fatalf("series %s comes twice", p.Metric)
			}
			got[p.Metric] = make(map[int64]float64)
			last, lastTime, full = p.Metric, 0, true
		}
		if len(p.Timestamps) == 0 || len(p.Timestamps) > q.MaxRows || len(p.Timestamps) != len(p.Values) || !full {
			t.Fatalf("piece of %d timestamps and %d values after a piece that was full: %v", len(p.Timestamps),
				len(p.Values), full)
		}
		full = len(p.Timestamps) == q.MaxRows
		for i, ts := range p.Timestamps {
			if ts <= lastTime {
				t.Fatalf("series %s: %d comes after %d", p.Metric, ts, lastTime)
			}
			lastTime = ts
			got[p.Metric][ts] = p.Values[i]
		}
		return nil
	})
	if err != nil {
		t.Fatalf("select: %v", err)
	}
	return got
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func query(t fataler, selectors ...string) Query {
	t.Helper()
	q := Query{From: 0, To: line.MaxTimestamp, MaxRows: 1000}
	for _, text := range selectors {
		sel, err := selector.Parse(text)
		if err != nil {
			t.Fatalf("%v", err)
		}
		q.Selectors = append(q.Selectors, sel)
	}
	return q
}

const everything = `{__name__!=""}`
