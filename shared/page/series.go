package page

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"belabox-metrics/shared/store"
)

// span is a time range of a chart.
type span struct {
	length, step time.Duration // step: from point to point
}

var spans = map[string]span{
	"15m": {15 * time.Minute, 5 * time.Second},
	"1h":  {time.Hour, 20 * time.Second},
	"6h":  {6 * time.Hour, 2 * time.Minute},
	"24h": {24 * time.Hour, 5 * time.Minute},
}

const (
	maxNames  = 64
	maxSeries = 200 // of one answer

	// The cost of an answer is counted in samples read: finding a tick costs probeCost, and an
	// answer at most maxCost, which is 16 ms of CPU on a PC.
	probeCost = 4
	maxCost   = 20_000
)

// probeEvery are the distances of the samples that are read, the closest first. All divide a
// minute, so that collectors with intervals of their own are read, too.
var probeEvery = []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, time.Minute}

// every returns the closest distance of samples that keeps the cost of n series over a length of
// time within maxCost. Where even the longest does not, a point is one sample of its step.
func (s span) every(n int, length time.Duration) time.Duration {
	for _, every := range probeEvery {
		if every < s.step && s.step%every == 0 && int(length/every)*(n+probeCost) <= maxCost {
			return every
		}
	}
	return s.step
}

// statistic makes one value from the samples of a step.
type statistic struct {
	name string
	add  func(sum, value float64, n int) float64 // n: how many were before
	end  func(sum float64, n int) float64
}

func asIs(sum float64, _ int) float64 { return sum }

var statistics = []statistic{
	{"mean", func(sum, v float64, _ int) float64 { return sum + v }, func(sum float64, n int) float64 { return sum / float64(n) }},
	{"max", func(sum, v float64, n int) float64 {
		if n == 0 {
			return v
		}
		return max(sum, v)
	}, asIs},
	{"min", func(sum, v float64, n int) float64 {
		if n == 0 {
			return v
		}
		return min(sum, v)
	}, asIs},
	{"last", func(_, v float64, _ int) float64 { return v }, asIs},
}

// seriesQuery are the parameters of /api/series.
type seriesQuery struct {
	names    []string
	ids      []int64 // beside those with the names
	rangeKey string
	span     span
	stat     statistic
	since    int64 // ms; 0 = the whole range
}

// badQuery is an error in the parameters.
type badQuery string

func (b badQuery) Error() string { return string(b) }

func parseSeriesQuery(r *http.Request) (q seriesQuery, err error) {
	values := r.URL.Query()
	q.names = values["name"]
	for _, text := range values["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return q, badQuery("id must be a number from an answer of /api/series or /api/busiest")
		}
		q.ids = append(q.ids, id)
	}
	if len(q.names) > maxNames || len(q.ids) > maxSeries || len(q.names)+len(q.ids) == 0 {
		return q, badQuery(fmt.Sprintf("give name= 1 to %d times, such as name=cpu.usage_percent, or id= 1 to %d times", maxNames, maxSeries))
	}
	if q.rangeKey, q.span, err = spanOf(values); err != nil {
		return q, err
	}
	stat := "mean"
	if values.Has("stat") {
		stat = values.Get("stat")
	}
	i := slices.IndexFunc(statistics, func(s statistic) bool { return s.name == stat })
	if i < 0 {
		return q, badQuery("stat must be mean, max, min or last")
	}
	q.stat = statistics[i]
	if text := values.Get("since"); text != "" {
		if q.since, err = strconv.ParseInt(text, 10, 64); err != nil || q.since < 0 || q.since > store.MaxTimestampMS {
			return q, badQuery("since must be milliseconds since 1970")
		}
	}
	return q, nil
}

// spanOf returns the range of a query.
func spanOf(values url.Values) (key string, s span, err error) {
	key = "1h"
	if values.Has("range") {
		key = values.Get("range")
	}
	s, known := spans[key]
	if !known {
		return key, s, badQuery("range must be 15m, 1h, 6h or 24h")
	}
	return key, s, nil
}

// chart is the answer of /api/series. Point i of a series is that of the step
// that begins at FromMS + i × StepMS; the last may still change.
type chart struct {
	Range   string        `json:"range"`
	Stat    string        `json:"stat"`
	FromMS  int64         `json:"from_ms"`
	StepMS  int64         `json:"step_ms"`
	EveryMS int64         `json:"every_ms"` // the distance of the samples that a point is made of
	Points  int           `json:"points"`
	NextMS  int64         `json:"next_ms"` // give this as since
	Series  []chartLine   `json:"series"`
	LeftOut int           `json:"left_out"` // series beyond what one answer has
	lines   map[int64]int // by the id of the series
}

type chartLine struct {
	ID     int64             `json:"id"`
	Name   string            `json:"name"`
	Tags   map[string]string `json:"tags"`
	Values numbers           `json:"values"`
	counts []int32
}

// numbers are values in JSON with ten digits, null where there is none (NaN).
type numbers []float64

// MarshalJSON implements json.Marshaler. Encoding by reflection would cost as much as reading.
func (n numbers) MarshalJSON() ([]byte, error) {
	body := append(make([]byte, 0, 8*len(n)), '[')
	for i, v := range n {
		if i > 0 {
			body = append(body, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			body = append(body, "null"...)
		} else {
			body = strconv.AppendFloat(body, v, 'g', 10, 64)
		}
	}
	return append(body, ']'), nil
}

func (p *Page) answerSeries(ctx context.Context, r *http.Request) ([]byte, error) {
	q, err := parseSeriesQuery(r)
	if err != nil {
		return nil, err
	}
	reader, err := p.file.open(ctx)
	if err != nil {
		return nil, err
	}
	c, err := p.chart(ctx, reader, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// chart reads the series of a query.
func (p *Page) chart(ctx context.Context, reader *store.Reader, q seriesQuery) (*chart, error) {
	series, more, err := p.seriesOf(ctx, reader, q)
	if err != nil {
		return nil, err
	}
	step := q.span.step.Milliseconds()
	trueNow, err := p.now(ctx, reader)
	if err != nil {
		return nil, err
	}
	now := trueNow.UnixMilli()
	last := now / step * step // the step that is under way
	from := last + step - q.span.length.Milliseconds()
	if q.since > from {
		from = min(q.since/step*step, last)
	}
	c := &chart{
		Range: q.rangeKey, Stat: q.stat.name, FromMS: from, StepMS: step,
		EveryMS: q.span.every(len(series), time.Duration(now+1-from)*time.Millisecond).Milliseconds(),
		Points:  int((last-from)/step) + 1, NextMS: last,
		Series: []chartLine{}, LeftOut: more, lines: map[int64]int{},
	}
	byID := map[int64]store.NumberSeries{}
	ids := make([]int64, len(series))
	for i, s := range series {
		ids[i], byID[s.ID] = s.ID, s
	}
	err = reader.Probe(ctx, ids, from, now+1, c.EveryMS, func(id, ms int64, value float64) {
		line := c.line(byID[id])
		i := (ms - from) / step
		line.Values[i] = q.stat.add(line.Values[i], value, int(line.counts[i]))
		line.counts[i]++
	})
	if err != nil {
		return nil, err
	}
	for i := range c.Series {
		c.Series[i].finish(q.stat)
	}
	slices.SortStableFunc(c.Series, func(a, b chartLine) int { return slices.Index(q.names, a.Name) - slices.Index(q.names, b.Name) })
	return c, nil
}

// seriesOf returns the series with the ids and those with the names, at most maxSeries, and how
// many more there are.
func (p *Page) seriesOf(ctx context.Context, reader *store.Reader, q seriesQuery) (series []store.NumberSeries, more int, err error) {
	if len(q.ids) > 0 {
		if series, err = reader.SeriesByID(ctx, p.device(), q.ids); err != nil {
			return nil, 0, err
		}
	}
	if len(q.names) == 0 {
		return series, 0, nil
	}
	series = slices.DeleteFunc(series, func(s store.NumberSeries) bool { return slices.Contains(q.names, s.Name) })
	named, more, err := reader.SeriesNamed(ctx, p.device(), q.names, maxSeries-len(series))
	return append(series, named...), more, err
}

// line returns the line of a series, which is added with its first sample.
func (c *chart) line(s store.NumberSeries) *chartLine {
	i, known := c.lines[s.ID]
	if !known {
		i = len(c.Series)
		c.lines[s.ID] = i
		tags := tagsOf(s)
		c.Series = append(c.Series, chartLine{
			ID: s.ID, Name: s.Name, Tags: tags, Values: make(numbers, c.Points), counts: make([]int32, c.Points),
		})
	}
	return &c.Series[i]
}

// tagsOf returns the tags of a series; none if they do not parse.
func tagsOf(s store.NumberSeries) map[string]string {
	tags := map[string]string{}
	if parsed, err := store.ParseTags(s.Tags); err == nil {
		for _, t := range parsed {
			tags[t.Name] = t.Value
		}
	}
	return tags
}

func (l *chartLine) finish(stat statistic) {
	for i, n := range l.counts {
		if n == 0 {
			l.Values[i] = math.NaN()
			continue
		}
		l.Values[i] = stat.end(l.Values[i], int(n))
	}
}
