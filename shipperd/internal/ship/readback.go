package ship

import (
	"context"
	"slices"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// wanted is the list of samples that a chunk should have at the server; what
// the server names is struck off.
type wanted struct {
	selectors  []victoria.Selector            // one for each device
	from, to   int64                          // milliseconds, both inclusive
	bySeries   map[string]map[int64]store.Key // label text → timestamp as sent → row
	labelNames map[string]bool                // all that our series use
}

// wanted lists the samples of a body as they were sent: names made fit for
// Prometheus, timestamps clamped.
func (s *Shipper) wanted(ctx context.Context, body *chunk.Body) (*wanted, error) {
	w := &wanted{bySeries: map[string]map[int64]store.Key{}, labelNames: map[string]bool{}}
	w.from, w.to = body.Range()
	names := map[string][]string{} // by device
	texts := map[int64]string{}    // by series id
	for n := 1; n <= body.Lines(); n++ {
		for _, sample := range body.Line(n) {
			id := sample.Key.SeriesID()
			text, known := texts[id]
			if !known {
				info, err := s.Outbox.Series(ctx, id)
				if err != nil {
					return nil, err
				}
				labels := chunk.Labels(info)
				text = chunk.Text(labels)
				texts[id] = text
				names[info.Device] = append(names[info.Device], chunk.MetricName(info.Name))
				for _, l := range labels {
					w.labelNames[l.Name] = true
				}
				w.bySeries[text] = map[int64]store.Key{}
			}
			w.bySeries[text][sample.TimestampMS] = sample.Key
		}
	}
	for device, n := range names {
		slices.Sort(n)
		w.selectors = append(w.selectors, victoria.Selector{DeviceID: device, Names: slices.Compact(n)})
	}
	return w, nil
}

// readBack asks the server what it has in the span and strikes it off. An error
// means that nothing can be concluded.
func (w *wanted) readBack(ctx context.Context, server Server) error {
	for _, sel := range w.selectors {
		err := server.Export(ctx, sel, w.from, w.to, func(labels []store.Tag, timestamps []int64) error {
			// A proxy may have added labels of its own (extra_label): ours count.
			ours := slices.DeleteFunc(slices.Clone(labels), func(l store.Tag) bool { return !w.labelNames[l.Name] })
			samples := w.bySeries[chunk.Text(ours)]
			for _, ts := range timestamps {
				delete(samples, ts)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// missing returns the rows that are not struck off.
func (w *wanted) missing() store.KeySet {
	var missing store.KeySet
	for _, samples := range w.bySeries {
		for _, k := range samples {
			missing = append(missing, k)
		}
	}
	slices.Sort(missing)
	return missing
}
