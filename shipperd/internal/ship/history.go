package ship

import (
	"context"
	"slices"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// historyReach is how far around a chunk the history goes, in milliseconds: as many
// of the longest intervals as are needed for evidence.
var historyReach = evidenceNeeded * longestInterval.Milliseconds()

// history is the time around a chunk, as sent and as the server shows it. A lost
// sample beside one that is there looks like a thinned one; but in the intervals
// before and behind it a server that thins shows one of each, too, and one that
// does not shows all.
type history struct {
	from  int64              // nothing before is known, in milliseconds
	sent  map[string][]int64 // timestamps of rows that were answered 2xx, by the text of their series, sorted
	shown map[string][]int64
}

// historyOf reads the history of a chunk. fault is the server's, err the file's.
func (s *Shipper) historyOf(ctx context.Context, p *parcel) (h *history, fault, err error) {
	from, to := p.first.TimestampMS()-historyReach, p.last.TimestampMS()+historyReach
	h = &history{from: from, sent: map[string][]int64{}, shown: map[string][]int64{}}
	keys, err := s.Outbox.UploadedKeys(ctx, from, to)
	if err != nil {
		return nil, nil, err
	}
	texts, names, devices := map[int64]string{}, map[string]bool{}, map[string]bool{}
	for _, k := range keys {
		text, known := texts[k.SeriesID()]
		if !known {
			info, err := s.Outbox.Series(ctx, k.SeriesID())
			if err != nil {
				return nil, nil, err
			}
			labels := chunk.Labels(info)
			text = chunk.Text(labels)
			texts[k.SeriesID()], devices[info.Device] = text, true
			for _, l := range labels {
				names[l.Name] = true
			}
		}
		h.sent[text] = append(h.sent[text], k.TimestampMS())
	}
	for _, timestamps := range h.sent {
		slices.Sort(timestamps) // two series may have one text
	}
	for device := range devices {
		s.Beat()
		fault := s.Server.Export(ctx, victoria.Selector{DeviceID: device}, from, to, func(labels []store.Tag, timestamps []int64) error {
			text := chunk.Text(slices.DeleteFunc(slices.Clone(labels), func(l store.Tag) bool { return !names[l.Name] }))
			h.shown[text] = append(h.shown[text], timestamps...)
			return nil
		})
		if fault != nil {
			return nil, fault, nil
		}
	}
	for text, timestamps := range h.shown {
		slices.Sort(timestamps)
		h.shown[text] = slices.Compact(timestamps)
	}
	return h, nil, nil
}

// judge holds an interval against the history. fits = nothing contradicts it;
// evidence is the number of intervals that speak for it. Where unsure says so, the
// absence of a sample says nothing.
func (h *history) judge(length int64, unsure func(from, to int64) bool) (evidence int, fits bool) {
	seen := map[int64]bool{} // ends of intervals that are evidence
	for text, sent := range h.sent {
		shown := h.shown[text]
		for i := 0; i < len(sent); {
			until, first := end(sent[i], length), i
			for i < len(sent) && sent[i] <= until {
				i++
			}
			from := until - length + 1
			if from < h.from {
				continue
			}
			a, _ := slices.BinarySearch(shown, from)
			b, _ := slices.BinarySearch(shown, until+1)
			last := b-a == 1 && shown[a] == sent[i-1]
			switch {
			case b-a > 1, !last && !unsure(from, until):
				return 0, false
			case last && sent[first] < sent[i-1]:
				seen[until] = true
			}
		}
	}
	return len(seen), true
}
