package testkit

import (
	"maps"
	"slices"
	"time"

	"belabox-metrics/shared/selector"
)

// Sample is one value of one series.
type Sample struct {
	Metric    map[string]string // shared by the samples of a line: not to be changed
	Series    string            // SeriesKey(Metric)
	Timestamp int64             // Unix milliseconds
	Value     float64
}

// SampleKey is what makes two samples the same one to a reader.
type SampleKey struct {
	Series    string
	Timestamp int64
}

// fakeDB is everything a FakeVM has stored.
type fakeDB struct {
	series map[string]*fakeSeries // by SeriesKey
	size   int                    // samples in all series
}

type fakeSeries struct {
	metric  map[string]string
	samples []storedSample // in the order of storing
}

type storedSample struct {
	timestamp int64
	value     float64
	nth       int       // how many samples were there before it
	at        time.Time // when it was stored
	visible   bool      // independent of at (force_flush)
}

func (db *fakeDB) add(at time.Time, samples ...Sample) {
	if db.series == nil {
		db.series = map[string]*fakeSeries{}
	}
	for _, s := range samples {
		series := db.series[s.Series]
		if series == nil {
			series = &fakeSeries{metric: s.Metric}
			db.series[s.Series] = series
		}
		series.samples = append(series.samples, storedSample{timestamp: s.Timestamp, value: s.Value, nth: db.size, at: at})
		db.size++
	}
}

func (db *fakeDB) forgetLast(n int) {
	keep := db.size - n
	db.forget(func(s storedSample) bool { return s.nth >= keep })
}

func (db *fakeDB) forgetSince(t time.Time) int {
	return db.forget(func(s storedSample) bool { return s.at.After(t) })
}

// forget drops the samples for which young returns true: in every series they are
// the last ones.
func (db *fakeDB) forget(young func(storedSample) bool) (n int) {
	for key, series := range db.series {
		keep := len(series.samples)
		for keep > 0 && young(series.samples[keep-1]) {
			keep--
		}
		n += len(series.samples) - keep
		series.samples = series.samples[:keep]
		if keep == 0 {
			delete(db.series, key)
		}
	}
	db.size -= n
	return n
}

func (db *fakeDB) counts() map[SampleKey]int {
	counts := make(map[SampleKey]int, db.size)
	for key, series := range db.series {
		for _, s := range series.samples {
			counts[SampleKey{key, s.timestamp}]++
		}
	}
	return counts
}

func (db *fakeDB) all() []Sample {
	out := make([]Sample, 0, db.size)
	for _, key := range slices.Sorted(maps.Keys(db.series)) {
		series := db.series[key].storedBy(time.Unix(1<<60, 0))
		for i := range series.Values {
			out = append(out, Sample{series.Metric, key, series.Timestamps[i], series.Values[i]})
		}
	}
	return out
}

// find returns the samples that one of the selectors matches and that were stored
// by a time, sorted by series and time.
func (db *fakeDB) find(by time.Time, sels []selector.Selector) (out []ExportedSeries) {
	for _, key := range slices.Sorted(maps.Keys(db.series)) {
		series := db.series[key]
		if !slices.ContainsFunc(sels, func(sel selector.Selector) bool { return sel.Matches(series.metric) }) {
			continue
		}
		if found := series.storedBy(by); len(found.Values) > 0 {
			out = append(out, found)
		}
	}
	return out
}

func (s *fakeSeries) storedBy(t time.Time) ExportedSeries {
	out := ExportedSeries{Metric: s.metric}
	for _, sample := range s.samples {
		if sample.at.After(t) && !sample.visible {
			break
		}
		out.Values = append(out.Values, sample.value)
		out.Timestamps = append(out.Timestamps, sample.timestamp)
	}
	out.sort()
	return out
}

// cut keeps the samples from one time to another, both included.
func (s ExportedSeries) cut(from, to int64) ExportedSeries {
	i, _ := slices.BinarySearch(s.Timestamps, from)
	j, _ := slices.BinarySearch(s.Timestamps, to+1)
	j = max(i, j)
	return ExportedSeries{Metric: s.Metric, Values: s.Values[i:j], Timestamps: s.Timestamps[i:j]}
}

// dedup keeps the last sample of each interval, which ends at a multiple of step
// (https://docs.victoriametrics.com/#deduplication).
func (s ExportedSeries) dedup(step time.Duration) ExportedSeries {
	ms := step.Milliseconds()
	if ms <= 0 {
		return s
	}
	out := ExportedSeries{Metric: s.Metric}
	interval := func(i int) int64 { return (s.Timestamps[i] + ms - 1) / ms }
	for i := range s.Timestamps {
		if i+1 < len(s.Timestamps) && interval(i) == interval(i+1) {
			continue
		}
		out.Values = append(out.Values, s.Values[i])
		out.Timestamps = append(out.Timestamps, s.Timestamps[i])
	}
	return out
}

// show makes everything visible to reads.
func (db *fakeDB) show() {
	for _, series := range db.series {
		for i := range series.samples {
			series.samples[i].visible = true
		}
	}
}
