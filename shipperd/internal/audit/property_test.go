package audit

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// TestAudit_Property gives a file with rows of all states a server with any
// content: every sample must be counted as what it is, whatever the windows and
// lines it comes in.
func TestAudit_Property(t *testing.T) {
	t.Parallel()
	const series, ticks = 5, 30
	r := newRig(t, series)
	r.insert(0, 10)
	chunks, _ := r.record(time.Now())
	r.verify(chunks...)
	r.insert(10, 20)
	r.record(time.Now()) // under way
	r.insert(20, ticks)  // pending
	all, err := r.file.States(t.Context(), 0, math.MaxInt64, 1000)
	if err != nil || len(all) != series*ticks {
		t.Fatalf("%d rows, %v", len(all), err)
	}
	labels := make([][]store.Tag, series+2)
	for i := range series {
		info, err := r.file.Series(t.Context(), int64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		labels[i] = chunk.Labels(info)
	}
	labels[series] = []store.Tag{{Name: "__name__", Value: "stranger"}, {Name: "device_id", Value: "dev"}}
	labels[series+1] = []store.Tag{{Name: "__name__", Value: "metric_0"}, {Name: "device_id", Value: "dev"}, {Name: "part", Value: "9"}}

	rapid.Check(t, func(t *rapid.T) {
		var want counts
		server := make([][]int64, len(labels)) // timestamps of each series
		for _, row := range all {
			copies := rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 3}).Draw(t, "copies")
			i, ms := row.Key.SeriesID()-1, row.Key.TimestampMS()
			for range copies {
				server[i] = append(server[i], ms)
			}
			want.twice += int64(max(0, copies-1))
			switch tick := (ms - r.begin.UnixMilli()) / 1000; {
			case tick < 10 && copies > 0:
				want.proven++
			case tick < 10:
				want.missing++
			case tick < 20:
				want.unsettled++
				want.there += int64(min(1, copies))
			case copies > 0:
				want.pendingStored++
			default:
				want.pending++
			}
		}
		for range rapid.IntRange(0, 20).Draw(t, "strays") {
			i := rapid.IntRange(0, len(labels)-1).Draw(t, "series")
			// Beside the rows, within their span and out of it.
			ms := r.begin.UnixMilli() + 500 + 1000*int64(rapid.IntRange(-3, ticks+3).Draw(t, "tick"))
			server[i] = append(server[i], ms)
			if ms > r.begin.UnixMilli() && ms < r.at(ticks-1).UnixMilli() {
				want.unknown++
			}
		}
		export := func(_ context.Context, sel victoria.Selector, startMS, endMS int64, each func([]store.Tag, []int64) error) error {
			if sel.DeviceID != "dev" || len(sel.Names) > 0 {
				return fmt.Errorf("unexpected %v", sel)
			}
			for i := range server {
				for rest := server[i]; len(rest) > 0; {
					n := rapid.IntRange(1, len(rest)).Draw(t, "line")
					var line []int64
					for _, ms := range rest[:n] {
						if ms >= startMS && ms <= endMS {
							line = append(line, ms)
						}
					}
					if err := each(labels[i], line); err != nil {
						return err
					}
					rest = rest[n:]
				}
			}
			return nil
		}
		cfg := r.config()
		cfg.WindowRows = rapid.IntRange(1, 2*len(all)).Draw(t, "window")
		report, err := Run(context.Background(), r.file, export, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := countsOf(report); got != want {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}
