package ship

import (
	"context"
	"slices"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// history is the period around a chunk, as sent and as the server shows it. A lost sample next to
// one that exists looks like a deduplicated one. But a server that deduplicates shows one sample
// of each interval before and after it, too, and one that does not deduplicate shows all.
type history struct {
	from  int64              // in milliseconds; nothing before it is known
	to    int64              // nor after
	sent  map[string][]int64 // timestamps of rows answered 2xx, sorted, by the text of their series
	shown map[string][]int64
}

// historyMost bounds the history in each direction if that is more than a usual interval needs.
const historyMost = 30 * time.Minute

// historyOf reads the history of a few metrics around a chunk, as far as evidence
// for an interval needs. fault is the server's, err the file's.
func (s *Shipper) historyOf(ctx context.Context, c *inflight, few []victoria.Selector, interval int64) (h *history, fault, err error) {
	reach := min((oddEvidenceNeeded+1)*interval, max((evidenceNeeded+1)*interval, historyMost.Milliseconds()))
	from, to := c.from()-reach, c.to()+reach
	h = &history{from: from, to: to, sent: map[string][]int64{}, shown: map[string][]int64{}}
	keys, err := s.Outbox.UploadedKeys(ctx, from, to)
	if err != nil {
		return nil, nil, err
	}
	t, err := s.Outbox.Timeline(ctx)
	if err != nil {
		return nil, nil, err
	}
	texts, labelNames := map[int64]string{}, map[string]bool{} // "" = of another metric
	for _, k := range keys {
		text, known := texts[k.SeriesID()]
		if !known {
			info, err := s.Outbox.Series(ctx, k.SeriesID())
			if err != nil {
				return nil, nil, err
			}
			if selected(few, info) {
				labels := chunk.Labels(info)
				text = chunk.Text(labels)
				for _, l := range labels {
					labelNames[l.Name] = true
				}
			}
			texts[k.SeriesID()] = text
		}
		if text != "" {
			h.sent[text] = append(h.sent[text], t.MS(k))
		}
	}
	for _, timestamps := range h.sent {
		slices.Sort(timestamps) // two series may have one text
	}
	for _, sel := range few {
		fault := s.export(ctx, sel, from, to, labelNames, func(text string) bool { return h.sent[text] != nil },
			func(text string, _ []store.Tag, timestamps []int64) {
				h.shown[text] = append(h.shown[text], timestamps...)
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

func selected(few []victoria.Selector, info *store.SeriesInfo) bool {
	return slices.ContainsFunc(few, func(sel victoria.Selector) bool {
		return sel.DeviceID == info.Device && slices.Contains(sel.Names, chunk.MetricName(info.Name))
	})
}

// judge compares an interval with the history. fits = nothing contradicts it; evidence is the
// number of intervals that support it. Where unsure returns true, the absence of a sample
// contradicts nothing; but there must be far more evidence than such places, or an interval that
// is a fraction of the true one would fit, too.
func (h *history) judge(length int64, unsure func(from, to int64) bool) (evidence int, fits bool) {
	seen, excused := map[int64]bool{}, map[int64]bool{} // ends of intervals
	for text, sent := range h.sent {
		shown := h.shown[text]
		for i := 0; i < len(sent); {
			until, first := end(sent[i], length), i
			for i < len(sent) && sent[i] <= until {
				i++
			}
			from := until - length + 1
			if from < h.from || until > h.to {
				continue
			}
			a, _ := slices.BinarySearch(shown, from)
			b, _ := slices.BinarySearch(shown, until+1)
			last := b-a == 1 && shown[a] == sent[i-1]
			switch {
			case b-a > 1, !last && !unsure(from, until):
				return 0, false
			case !last && i == len(sent): // it is not over yet
			case !last:
				excused[until] = true
			case sent[first] < sent[i-1]:
				seen[until] = true
			}
		}
	}
	return len(seen) - 3*len(excused), true
}
