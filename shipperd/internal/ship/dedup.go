package ship

import (
	"cmp"
	"context"
	"slices"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// A server with -dedup.minScrapeInterval keeps the last sample of each series in each interval,
// and deletes the others when it merges its files. Resending those would never end. Such a server
// differs from one that lost samples: no interval has two samples of a series, and where a sample
// is missing, a later one of the same interval exists. The intervals end at multiples of their
// length.
// https://docs.victoriametrics.com/victoriametrics/single-server-victoriametrics/#deduplication

const (
	// longestInterval is the longest one that is recognised.
	longestInterval = time.Hour
	// sightedFor bounds the time, and sightedNames the metrics, that are examined: a server treats
	// all metrics alike, and on a slow link an answer must arrive in time.
	sightedFor   = 10 * time.Minute
	sightedNames = 4
	// evidenceNeeded is how many intervals must show it: several samples were sent, and
	// only the last one is there. An interval that nobody would configure needs more:
	// among hundreds of them one may fit by chance.
	evidenceNeeded    = 5
	oddEvidenceNeeded = 20
	// undecidedMost is how often a chunk may be undecided, an interval apart.
	undecidedMost = 12
	// dedupFailsMost failed reads in a row are enough; the next comes dedupPause later.
	dedupFailsMost = 3
	// candidatesMost bounds the intervals that are compared with the history: hundreds
	// would fit sparse samples.
	candidatesMost = 30
	dedupPause     = time.Hour
	// dedupFor is how long an interval that was inferred counts as current.
	dedupFor = time.Hour
)

// usual are the lengths that people configure, in milliseconds.
var usual = []int64{1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000}

// intervals are the lengths that are tried: first the usual ones.
var intervals = func() []int64 {
	all := slices.Clone(usual)
	step := int64(100)
	for ms := step; ms <= longestInterval.Milliseconds(); ms += step {
		all = append(all, ms)
		switch ms {
		case 10_000:
			step = 1000
		case 300_000:
			step = 60_000
		}
	}
	return all
}()

// leftOut returns the missing samples of an accepted chunk that the server leaves out because of
// its deduplication interval. An interval is searched for only if a first resend did not help.
// While nothing contradicts an interval but there is too little evidence for it, the chunk is
// undecided, and further resends do not count. ok = the server can be read.
func (s *Shipper) leftOut(ctx context.Context, c *inflight, w *wanted) (keys store.KeySet, ok bool, err error) {
	c.undecided = 0
	r, now := &s.reading, time.Now()
	if now.Before(r.dedupNotBefore) {
		return nil, true, nil
	}
	keys, fault, err := s.explained(ctx, c, w, w.missingSamples())
	if err != nil || fault == nil {
		r.dedupFails = 0
		return keys, true, err
	}
	if r.dedupFails++; r.dedupFails >= dedupFailsMost {
		r.dedupFails, r.dedupNotBefore = 0, now.Add(dedupPause)
		s.Log.Info("deduplication interval of the server unknown, missing samples are sent again", logx.Err(fault))
		return nil, true, nil
	}
	s.readFailed(ctx, fault)
	c.due = later(r.notBefore, now.Add(jitter(time.Minute, s.cfg.Retry.JitterPercent, s.Rand)))
	return nil, false, nil
}

// explained is leftOut without its retries. fault is the server's, err the file's.
func (s *Shipper) explained(ctx context.Context, c *inflight, w *wanted, missing []missingSample) (keys store.KeySet, fault, err error) {
	if keys, fault = s.covered(ctx, w, missing); fault != nil || len(keys) == len(missing) || max(c.lost, c.Resends) == 0 || s.clamps(c) {
		return keys, fault, nil
	}
	candidates, fault := s.candidates(ctx, w, missing)
	if fault != nil || len(candidates) == 0 {
		return keys, fault, nil
	}
	h, fault, err := s.historyOf(ctx, c, w.some(), slices.Max(candidates))
	if fault != nil || err != nil {
		return nil, fault, err
	}
	if s.learnInterval(h, c, candidates) {
		keys, fault = s.covered(ctx, w, missing)
	}
	return keys, fault, nil
}

// covered returns the missing samples that the known interval of the server
// explains. A series with two samples in one interval shows that the server no longer
// deduplicates: then nothing is explained.
func (s *Shipper) covered(ctx context.Context, w *wanted, missing []missingSample) (store.KeySet, error) {
	if s.reading.dedupUntil.IsZero() {
		return nil, nil
	}
	v, err := s.view(ctx, w, missing, w.selectors, s.reading.interval)
	if err != nil {
		return nil, err
	}
	if v.contradicts(s.reading.interval) {
		s.clearInterval()
		s.Log.Warn("server no longer keeps one sample of each interval, missing samples are sent again")
		return nil, nil
	}
	return v.covered(s.reading.interval), nil
}

// forgetInterval clears the interval dedupFor after it was inferred.
func (s *Shipper) forgetInterval(now time.Time) {
	if !s.reading.dedupUntil.IsZero() && !now.Before(s.reading.dedupUntil) {
		s.clearInterval()
	}
}

func (s *Shipper) clearInterval() {
	s.reading.dedupUntil = time.Time{}
	s.Stats.deduplicating(false)
}

// some returns a few metrics of each device.
func (w *wanted) some() (few []victoria.Selector) {
	for _, sel := range w.selectors {
		few = append(few, victoria.Selector{DeviceID: sel.DeviceID, Names: sel.Names[:min(len(sel.Names), sightedNames)]})
	}
	return few
}

// candidates returns the intervals that explain the first of the missing samples
// of a few metrics, and that nothing after them contradicts.
func (s *Shipper) candidates(ctx context.Context, w *wanted, missing []missingSample) (fit []int64, err error) {
	few := w.some()
	sighted := slices.DeleteFunc(slices.Clone(missing), func(m missingSample) bool {
		return !slices.ContainsFunc(few, func(sel victoria.Selector) bool {
			return sel.DeviceID == m.device && slices.Contains(sel.Names, m.name)
		})
	})
	if len(sighted) == 0 { // of other metrics
		few, sighted = w.selectors, slices.Clone(missing)
	}
	first := slices.MinFunc(sighted, func(a, b missingSample) int { return cmp.Compare(a.ms, b.ms) }).ms
	sighted = slices.DeleteFunc(sighted, func(m missingSample) bool { return m.ms > first+sightedFor.Milliseconds() })
	v, err := s.view(ctx, w, sighted, few, longestInterval.Milliseconds())
	if err != nil {
		return nil, err
	}
	for _, ms := range intervals {
		if known := ms == s.reading.interval && !s.reading.dedupUntil.IsZero(); !known && v.explainedBy(ms) {
			fit = append(fit, ms)
		}
		if len(fit) == candidatesMost {
			break
		}
	}
	return fit, nil
}

// learnInterval adopts the first candidate that the history around the chunk confirms.
func (s *Shipper) learnInterval(h *history, c *inflight, candidates []int64) bool {
	for _, ms := range candidates {
		evidence, fits := h.judge(ms, func(from, to int64) bool { return s.openBeside(c, from, to) })
		needed := evidenceNeeded
		if !slices.Contains(usual, ms) {
			needed = oddEvidenceNeeded
		}
		switch {
		case !fits:
		case evidence >= needed:
			s.reading.dedupUntil, s.reading.interval = time.Now().Add(dedupFor), ms
			s.Stats.deduplicating(true)
			s.Log.Warn("server keeps one sample of each interval (-dedup.minScrapeInterval), what it leaves out counts as verified",
				"interval_seconds", float64(ms)/1000)
			return true
		case c.lost < undecidedMost && c.undecided == 0:
			c.undecided = time.Duration(ms) * time.Millisecond
		}
	}
	return false
}

// openBeside reports whether another chunk that is not settled has rows in the
// span.
func (s *Shipper) openBeside(c *inflight, fromMS, toMS int64) bool {
	return slices.ContainsFunc(s.chunks.all, func(o *inflight) bool { return o != c && o.overlaps(fromMS, toMS) })
}

// view is what the server shows around missing samples.
type view struct {
	missing []missingSample
	shown   map[string][]int64 // timestamps by the text of our series, sorted
	all     map[string][]int64 // timestamps by all labels, sorted, each once
}

type missingSample struct {
	text, name, device string
	ms                 int64
	key                store.Key
}

// missingSamples lists the samples that are not crossed off.
func (w *wanted) missingSamples() (missing []missingSample) {
	for _, l := range w.lines {
		for i, sample := range l.samples {
			if !l.found[i] {
				missing = append(missing, missingSample{l.text, l.name, l.device, sample.TimestampMS, sample.Key})
			}
		}
	}
	return missing
}

// view reads what the server shows from the first of the missing samples to reach milliseconds
// after the last. What it shows is deduplicated even where its files are not yet.
func (s *Shipper) view(ctx context.Context, w *wanted, missing []missingSample, selectors []victoria.Selector, reach int64) (*view, error) {
	v := &view{missing: missing, shown: map[string][]int64{}, all: map[string][]int64{}}
	from, to := missing[0].ms, missing[0].ms
	for _, m := range missing {
		from, to = min(from, m.ms), max(to, m.ms)
	}
	for _, sel := range selectors {
		err := s.export(ctx, sel, from, to+reach, w.labels, func(text string) bool { return w.series[text] != nil },
			func(text string, labels []store.Tag, timestamps []int64) {
				whole := chunk.Text(labels)
				v.shown[text] = append(v.shown[text], timestamps...)
				v.all[whole] = append(v.all[whole], timestamps...)
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

// explainedBy reports whether intervals of that length explain all that is missing.
func (v *view) explainedBy(interval int64) bool {
	for _, m := range v.missing {
		if !v.covers(m, interval) {
			return false
		}
	}
	return !v.contradicts(interval)
}

// contradicts: some series shows two samples in one interval of that length.
func (v *view) contradicts(interval int64) bool {
	for _, timestamps := range v.all {
		for i := 1; i < len(timestamps); i++ {
			if end(timestamps[i-1], interval) == end(timestamps[i], interval) {
				return true
			}
		}
	}
	return false
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

// covers: after the sample there is one that the server kept in its place.
func (v *view) covers(m missingSample, interval int64) bool {
	timestamps := v.shown[m.text]
	i, _ := slices.BinarySearch(timestamps, m.ms)
	return i < len(timestamps) && timestamps[i] <= end(m.ms, interval)
}

// end is the last millisecond of the interval in which ms lies.
func end(ms, interval int64) int64 { return (ms + interval - 1) / interval * interval }
