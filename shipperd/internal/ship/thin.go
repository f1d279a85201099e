package ship

import (
	"cmp"
	"context"
	"slices"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// A server with -dedup.minScrapeInterval keeps of each series the last sample of
// each interval, of its own will, and deletes the others when it merges its
// files. Sending these again would never end. Such a server can be told from one
// that lost samples: no interval has two of any series, and none that misses a
// sample has none behind it. The intervals end at multiples of their length.
// https://docs.victoriametrics.com/victoriametrics/single-server-victoriametrics/#deduplication

const (
	// longestInterval is the longest one that is recognised.
	longestInterval = 5 * time.Minute
	// sightedFor bounds the time over which all series of a device are looked at.
	sightedFor = 10 * time.Minute
	// evidenceNeeded is how many intervals must show it: of several samples that were
	// sent the last one alone.
	evidenceNeeded = 3
	// undecidedMost is how often a chunk may be undecided. Until then more than an
	// hour has gone by, and the next intervals have shown it.
	undecidedMost = 12
	// thinningFor is how long a server is believed to go on thinning.
	thinningFor = time.Hour
)

// intervals are the lengths that are tried, in milliseconds: first those that
// people write.
var intervals = func() []int64 {
	all := []int64{1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000}
	for ms := int64(100); ms <= longestInterval.Milliseconds(); ms += 100 {
		if ms <= 10_000 || ms%1000 == 0 {
			all = append(all, ms)
		}
	}
	return all
}()

// thinned returns those of the missing samples of an accepted chunk that the
// server has thinned out. No interval is looked for before a first resend did not
// help. While there is one that nothing contradicts and too little speaks for, the
// chunk is undecided: a resend more does not count against it. ok = the server
// answers questions.
func (s *Shipper) thinned(ctx context.Context, p *parcel, w *wanted) (keys store.KeySet, ok bool, err error) {
	p.undecided = false
	missing := w.missingSamples()
	keys, fault := s.covered(ctx, w, missing)
	if fault == nil && len(keys) < len(missing) && max(p.owing, p.Resends) > 0 && !s.clamps(p) {
		var candidates []int64
		if candidates, fault = s.candidates(ctx, w, missing); fault == nil && len(candidates) > 0 {
			var h *history
			if h, fault, err = s.historyOf(ctx, p); err != nil {
				return nil, false, err
			}
			if fault == nil && s.learnInterval(h, p, candidates) {
				keys, fault = s.covered(ctx, w, missing)
			}
		}
	}
	if fault != nil {
		s.readFailed(ctx, fault)
		return nil, false, nil
	}
	return keys, true, nil
}

// covered returns the missing samples that the interval explains that the server
// is known for.
func (s *Shipper) covered(ctx context.Context, w *wanted, missing []missingSample) (store.KeySet, error) {
	if s.reading.thinning.IsZero() {
		return nil, nil
	}
	v, err := w.view(ctx, s.Server, s.Beat, missing, w.selectors)
	if err != nil {
		return nil, err
	}
	return v.covered(s.reading.interval), nil
}

// candidates returns the intervals that explain the first of the missing samples,
// and contradict no other series of their devices behind them.
func (s *Shipper) candidates(ctx context.Context, w *wanted, missing []missingSample) (fit []int64, err error) {
	first := slices.MinFunc(missing, func(a, b missingSample) int { return cmp.Compare(a.ms, b.ms) }).ms
	sighted := slices.DeleteFunc(slices.Clone(missing), func(m missingSample) bool { return m.ms > first+sightedFor.Milliseconds() })
	var devices []victoria.Selector
	for _, sel := range w.selectors {
		devices = append(devices, victoria.Selector{DeviceID: sel.DeviceID})
	}
	v, err := w.view(ctx, s.Server, s.Beat, sighted, devices)
	if err != nil {
		return nil, err
	}
	for _, ms := range intervals {
		if known := ms == s.reading.interval && !s.reading.thinning.IsZero(); !known && v.thinnedBy(ms) {
			fit = append(fit, ms)
		}
	}
	return fit, nil
}

// learnInterval believes the first candidate that the time around the chunk bears
// out.
func (s *Shipper) learnInterval(h *history, p *parcel, candidates []int64) bool {
	for _, ms := range candidates {
		evidence, fits := h.judge(ms, func(from, to int64) bool { return s.openBeside(p, from, to) })
		switch {
		case !fits:
		case evidence >= evidenceNeeded:
			s.reading.thinning, s.reading.interval = time.Now().Add(thinningFor), ms
			s.Stats.thinning(true)
			s.Log.Warn("the server keeps one sample of each interval (-dedup.minScrapeInterval): what it leaves out counts as verified",
				"interval_seconds", float64(ms)/1000)
			return true
		case p.owing < undecidedMost:
			p.undecided = true
		}
	}
	return false
}

// openBeside reports whether another open chunk, whose fate is not known, has rows
// in the span.
func (s *Shipper) openBeside(p *parcel, fromMS, toMS int64) bool {
	return slices.ContainsFunc(s.book.open, func(o *parcel) bool { return o != p && o.overlaps(fromMS, toMS) })
}

// view is what the server shows around missing samples.
type view struct {
	missing []missingSample
	shown   map[string][]int64 // timestamps by the text of our series, sorted
	all     map[string][]int64 // timestamps by all labels, sorted, each once
}

type missingSample struct {
	text string
	ms   int64
	key  store.Key
}

// missingSamples lists what is not struck off.
func (w *wanted) missingSamples() (missing []missingSample) {
	for _, l := range w.lines {
		for i, sample := range l.samples {
			if !l.found[i] {
				missing = append(missing, missingSample{l.text, sample.TimestampMS, sample.Key})
			}
		}
	}
	return missing
}

// view asks for what the server shows to people, which is thinned already where
// its files are not yet: from the first of the missing samples to an interval
// behind the last.
func (w *wanted) view(ctx context.Context, server Server, beat func(), missing []missingSample, selectors []victoria.Selector) (*view, error) {
	v := &view{missing: missing, shown: map[string][]int64{}, all: map[string][]int64{}}
	from, to := missing[0].ms, missing[0].ms
	for _, m := range missing {
		from, to = min(from, m.ms), max(to, m.ms)
	}
	for _, sel := range selectors {
		beat()
		err := server.Export(ctx, sel, from, to+longestInterval.Milliseconds(), func(labels []store.Tag, timestamps []int64) error {
			ours, whole := w.text(labels), chunk.Text(labels)
			v.shown[ours] = append(v.shown[ours], timestamps...)
			v.all[whole] = append(v.all[whole], timestamps...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, timestamps := range v.shown {
		slices.Sort(timestamps)
	}
	for text, timestamps := range v.all {
		slices.Sort(timestamps)
		v.all[text] = slices.Compact(timestamps)
	}
	return v, nil
}

// thinnedBy reports whether intervals of that length explain all that is missing.
func (v *view) thinnedBy(interval int64) bool {
	for _, m := range v.missing {
		if !v.covers(m, interval) {
			return false
		}
	}
	for _, timestamps := range v.all {
		for i := 1; i < len(timestamps); i++ {
			if end(timestamps[i-1], interval) == end(timestamps[i], interval) {
				return false
			}
		}
	}
	return true
}

// covered returns the missing samples that intervals of that length explain.
func (v *view) covered(interval int64) (keys store.KeySet) {
	for _, m := range v.missing {
		if v.covers(m, interval) {
			keys = append(keys, m.key)
		}
	}
	return keys.Sorted()
}

// covers: behind the sample there is one that the server kept in its place.
func (v *view) covers(m missingSample, interval int64) bool {
	timestamps := v.shown[m.text]
	i, _ := slices.BinarySearch(timestamps, m.ms)
	return i < len(timestamps) && timestamps[i] <= end(m.ms, interval)
}

// end is the last millisecond of the interval in which ms lies.
func end(ms, interval int64) int64 { return (ms + interval - 1) / interval * interval }
