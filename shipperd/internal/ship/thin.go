package ship

import (
	"context"
	"slices"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// A server with a coarse -dedup.minScrapeInterval keeps one sample of each
// interval and deletes the others, of its own will. Sending these again would
// never end. Raw exports show them until the server merges its files; after
// that they are missing, while their neighbours are there. What a killed server
// has forgotten looks alike, so nothing is concluded of a chunk that it may have
// forgotten, nor before a first resend was thinned, too.

const (
	// neighbourhood is the longest interval that is recognised.
	neighbourhood = 5 * time.Minute
	// thinningFor is how long a server is believed to go on thinning.
	thinningFor = time.Hour
	// owingEnough resends that were thinned speak for themselves, though the server
	// was away meanwhile: that it lost each of them is hardly possible.
	owingEnough = 3
)

// thinned returns those of the missing samples of an accepted chunk that the
// server has thinned out. ok = the server answers questions.
func (s *Shipper) thinned(ctx context.Context, p *parcel, w *wanted) (keys store.KeySet, ok bool, err error) {
	known := time.Now().Before(s.reading.thinning)
	again := max(p.owing, p.Resends)
	if !known && again == 0 || s.mayHaveForgotten(p) && again < owingEnough {
		return nil, true, nil
	}
	if keys, err = w.beside(ctx, s.Server, s.Beat); err != nil {
		s.readFailed(ctx, err)
		return nil, false, nil
	}
	if len(keys) > 0 && !known {
		s.reading.thinning = time.Now().Add(thinningFor)
		s.Stats.thinning(true)
		s.Log.Warn("the server keeps one sample of several (-dedup.minScrapeInterval): what it leaves out counts as verified",
			"thinned", len(keys), "of", p.n)
	}
	return keys, true, nil
}

// beside returns the missing samples that have neighbours at the server.
func (w *wanted) beside(ctx context.Context, server Server, beat func()) (keys store.KeySet, err error) {
	missing := map[string][]int64{} // by device, what to ask for
	names := map[string][]string{}
	for _, l := range w.lines {
		for i, sample := range l.samples {
			if !l.found[i] {
				missing[l.device] = append(missing[l.device], sample.TimestampMS)
				names[l.device] = append(names[l.device], l.name)
			}
		}
	}
	there := map[string][]int64{} // timestamps by label text
	for device, timestamps := range missing {
		slices.Sort(names[device])
		sel := victoria.Selector{DeviceID: device, Names: slices.Compact(names[device])}
		from, to := slices.Min(timestamps)-neighbourhood.Milliseconds(), slices.Max(timestamps)+neighbourhood.Milliseconds()
		beat()
		err := server.ExportRaw(ctx, sel, from, to, func(labels []store.Tag, timestamps []int64) error {
			text := w.text(labels)
			there[text] = append(there[text], timestamps...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, timestamps := range there {
		slices.Sort(timestamps)
	}
	for _, l := range w.lines {
		for i, sample := range l.samples {
			if !l.found[i] && hasNeighbour(there[l.text], sample.TimestampMS) {
				keys = append(keys, sample.Key)
			}
		}
	}
	return keys.Sorted(), nil
}

// hasNeighbour looks for a timestamp near ms in a sorted list.
func hasNeighbour(sorted []int64, ms int64) bool {
	i, _ := slices.BinarySearch(sorted, ms)
	near := neighbourhood.Milliseconds()
	return i < len(sorted) && sorted[i]-ms <= near || i > 0 && ms-sorted[i-1] <= near
}
