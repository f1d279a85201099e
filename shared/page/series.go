package page

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"belabox-metrics/shared/store"
)

// span is a range that a chart can have.
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

	// probeCost is what finding a tick costs, in samples; maxCost is what an answer
	// may cost: 20,000 samples are 16 ms on a PC.
	probeCost = 4
	maxCost   = 20_000
)

// probeEvery are the distances of the probes, the closest first. All divide a
// minute or are minutes, so that a collector with an interval of its own is met.
var probeEvery = []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, time.Minute}

// every returns the closest distance of probes that n series over a length of time
// can have. Where the steps are long and the series many, a point is one sample of
// its step.
func (s span) every(n int, length time.Duration) time.Duration {
	for _, every := range probeEvery {
		if every < s.step && s.step%every == 0 && int(length/every)*(n+probeCost) <= maxCost {
			return every
		}
	}
	return s.step
}

// statistic makes one value of the samples of a step.
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

// question is what /api/series is asked.
type question struct {
	names    []string
	rangeKey string
	span     span
	stat     statistic
	since    int64 // ms; 0 = the whole range
}

// badQuestion is one that makes no sense.
type badQuestion string

func (b badQuestion) Error() string { return string(b) }

func parseQuestion(r *http.Request) (q question, err error) {
	values := r.URL.Query()
	q.names = values["name"]
	if len(q.names) == 0 || len(q.names) > maxNames {
		return q, badQuestion(fmt.Sprintf("want 1 to %d times name=, such as name=cpu.usage_percent", maxNames))
	}
	q.rangeKey = "1h"
	if values.Has("range") {
		q.rangeKey = values.Get("range")
	}
	var known bool
	if q.span, known = spans[q.rangeKey]; !known {
		return q, badQuestion("want range=15m, 1h, 6h or 24h")
	}
	stat := "mean"
	if values.Has("stat") {
		stat = values.Get("stat")
	}
	i := slices.IndexFunc(statistics, func(s statistic) bool { return s.name == stat })
	if i < 0 {
		return q, badQuestion("want stat=mean, max, min or last")
	}
	q.stat = statistics[i]
	if text := values.Get("since"); text != "" {
		if q.since, err = strconv.ParseInt(text, 10, 64); err != nil || q.since < 0 || q.since > store.MaxTimestampMS {
			return q, badQuestion("want since= in milliseconds since 1970")
		}
	}
	return q, nil
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
	Name   string            `json:"name"`
	Tags   map[string]string `json:"tags"`
	Values numbers           `json:"values"`
	counts []int32
}

// numbers are values in JSON, null where there is none (NaN). Ten digits are more
// than a chart can show.
type numbers []float64

// MarshalJSON implements json.Marshaler. Encoding each value by reflection would
// cost as much as reading it.
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
	q, err := parseQuestion(r)
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

// chart reads what was asked for.
func (p *Page) chart(ctx context.Context, reader *store.Reader, q question) (*chart, error) {
	series, more, err := reader.SeriesNamed(ctx, p.device(), q.names, maxSeries)
	if err != nil {
		return nil, err
	}
	step := q.span.step.Milliseconds()
	now := p.cfg.Now().UnixMilli()
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

// line returns the line of a series, which has one as soon as it has a sample.
func (c *chart) line(s store.NumberSeries) *chartLine {
	i, known := c.lines[s.ID]
	if !known {
		i = len(c.Series)
		c.lines[s.ID] = i
		tags := map[string]string{}
		if parsed, err := store.ParseTags(s.Tags); err == nil { // what is no object has no label
			for _, t := range parsed {
				tags[t.Name] = t.Value
			}
		}
		c.Series = append(c.Series, chartLine{
			Name: s.Name, Tags: tags, Values: make(numbers, c.Points), counts: make([]int32, c.Points),
		})
	}
	return &c.Series[i]
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
