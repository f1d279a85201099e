package page

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"time"

	"belabox-metrics/shared/store"
)

// busiest is the answer of /api/busiest: the values of a tag, the one with the largest mean first.
type busiest struct {
	Busiest []rank `json:"busiest"`
	LeftOut int    `json:"left_out"` // series that were not compared
}

// rank is a value of the tag: an interface, a disk.
type rank struct {
	Value string  `json:"value"`
	Mean  float64 `json:"mean"` // over the range, of the sum of its series; 0 where it has no samples
	IDs   []int64 `json:"ids"`  // of its series
}

const (
	maxRanked = 1000 // series that are compared
	// rankTicks is how many samples of each series are compared. With 64 series that costs a fifth
	// of maxCost.
	rankTicks, minRankTicks = 60, 12
)

func (p *Page) answerBusiest(ctx context.Context, r *http.Request) ([]byte, error) {
	values := r.URL.Query()
	names, by := values["name"], values.Get("by")
	if len(names) == 0 || len(names) > maxNames || by == "" {
		return nil, badQuery("give name= and by=, such as name=disk.busy_percent&by=device")
	}
	_, s, err := spanOf(values)
	if err != nil {
		return nil, err
	}
	reader, err := p.file.open(ctx)
	if err != nil {
		return nil, err
	}
	b, err := p.busiest(ctx, reader, names, by, s.length)
	if err != nil {
		return nil, err
	}
	return json.Marshal(b)
}

// busiest compares the series of the names by few samples, which costs less than reading all.
// Values without any are left out: they are of devices that were there before.
func (p *Page) busiest(ctx context.Context, reader *store.Reader, names []string, by string, length time.Duration) (*busiest, error) {
	series, more, err := reader.SeriesNamed(ctx, p.device(), names, maxRanked)
	if err != nil {
		return nil, err
	}
	now, err := p.now(ctx, reader)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(series))
	valueOf := make(map[int64]string, len(series))
	for i, s := range series {
		ids[i], valueOf[s.ID] = s.ID, tagsOf(s)[by]
	}
	ticks := int64(min(rankTicks, max(minRankTicks, maxCost/(len(ids)+probeCost))))
	ranks, seen, last := map[string]*rank{}, map[int64]bool{}, int64(0)
	looked := 0 // ticks with a sample
	err = reader.Probe(ctx, ids, now.Add(-length).UnixMilli(), now.UnixMilli()+1, length.Milliseconds()/ticks, func(id, ms int64, value float64) {
		if math.IsInf(value, 0) {
			return // has no JSON
		}
		if ms != last {
			last = ms
			looked++
		}
		k := ranks[valueOf[id]]
		if k == nil {
			k = &rank{Value: valueOf[id]}
			ranks[valueOf[id]] = k
		}
		if !seen[id] {
			seen[id] = true
			k.IDs = append(k.IDs, id)
		}
		k.Mean += value
	})
	if err != nil {
		return nil, err
	}
	b := &busiest{Busiest: make([]rank, 0, len(ranks)), LeftOut: more}
	for _, k := range ranks {
		k.Mean = max(-math.MaxFloat64, min(math.MaxFloat64, k.Mean)) / float64(looked)
		slices.Sort(k.IDs)
		b.Busiest = append(b.Busiest, *k)
	}
	slices.SortFunc(b.Busiest, func(x, y rank) int { return cmp.Or(cmp.Compare(y.Mean, x.Mean), cmp.Compare(x.Value, y.Value)) })
	return b, nil
}
