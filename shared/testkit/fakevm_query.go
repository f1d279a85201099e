package testkit

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"belabox-metrics/shared/selector"
)

// countQuery is the one kind of query that FakeVM understands:
// sum(count_over_time(selector[range])).
type countQuery struct {
	text string // of the selector
	sel  selector.Selector
	over time.Duration
}

var countQueryForm = regexp.MustCompile(`(?s)^sum\(count_over_time\((.*)\[([0-9a-z.]+)\]\)\)$`)

func parseCountQuery(text string) (q countQuery, err error) {
	m := countQueryForm.FindStringSubmatch(text)
	if m == nil {
		return q, fmt.Errorf("want sum(count_over_time(selector[range])), got %q", text)
	}
	q.text = m[1]
	if q.sel, err = selector.Parse(q.text); err == nil {
		q.over, err = time.ParseDuration(m[2])
	}
	return q, err
}

func (f *FakeVM) query(form url.Values, now time.Time) (string, error) {
	q, err := parseCountQuery(form.Get("query"))
	if err != nil {
		return "", fmt.Errorf("error when executing query=%q: %w", form.Get("query"), err)
	}
	at, err := timeArg(form, "time", now)
	if err != nil {
		return "", err
	}
	offset := f.cfg.LatencyOffset.Milliseconds()
	if ct := now.UnixMilli(); form.Get("nocache") != "1" && offset > 0 && ct-at < offset && at-ct < offset {
		at = ct - offset
	}
	count := 0
	for _, s := range f.visible(now, q.text, q.sel) {
		count += len(s.dedup(f.cfg.Dedup).cut(at-q.over.Milliseconds()+1, at).Values)
	}
	results := []any{}
	if count > 0 {
		results = append(results, map[string]any{"metric": map[string]string{}, "value": [2]any{float64(at) / 1000, strconv.Itoa(count)}})
	}
	body, err := json.Marshal(map[string]any{
		"status": "success", "data": map[string]any{"resultType": "vector", "result": results},
	})
	return string(body), err
}
