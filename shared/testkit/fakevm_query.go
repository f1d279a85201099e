package testkit

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/selector"
)

// countQuery is the one kind of query that FakeVM understands:
// sum [by (labels)] (count_over_time(selector[range]) [keep_metric_names]), with
// the labels before or behind the parentheses, or without the sum.
type countQuery struct {
	text      string // of the selector
	sel       selector.Selector
	over      time.Duration
	keepNames bool
	aggregate bool // inside sum(...)
	by        []string
}

var countQueryForm = regexp.MustCompile(`(?s)^\s*(sum\s*(?:by\s*\(([a-z_, ]*)\)\s*)?\(\s*)?` +
	`count_over_time\s*\((.*)\[([0-9a-z.]+)\]\s*\)(\s+keep_metric_names)?\s*(\)?)\s*(?:by\s*\(([a-z_, ]*)\))?\s*$`)

func parseCountQuery(text string) (q countQuery, err error) {
	m := countQueryForm.FindStringSubmatch(text)
	if m == nil || (m[1] != "") != (m[6] != "") || m[7] != "" && m[1] == "" {
		return q, fmt.Errorf("want sum(count_over_time(selector[range])), got %q", text)
	}
	q.text, q.aggregate, q.keepNames = strings.TrimSpace(m[3]), m[1] != "", m[5] != ""
	q.by = strings.FieldsFunc(m[2]+","+m[7], func(r rune) bool { return r == ',' || r == ' ' })
	if q.sel, err = selector.Parse(q.text); err == nil {
		q.over, err = time.ParseDuration(m[4])
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
	type result struct {
		Metric map[string]string `json:"metric"`
		Value  [2]any            `json:"value"`
		count  int
	}
	groups := map[string]*result{}
	for _, s := range f.visible(now, q.text, q.sel) {
		s = s.dedup(f.cfg.Dedup).cut(at-q.over.Milliseconds()+1, at)
		if len(s.Values) == 0 {
			continue
		}
		metric := q.group(s.Metric)
		key := SeriesKey(metric)
		if groups[key] == nil {
			groups[key] = &result{Metric: metric}
		} else if !q.aggregate {
			return "", fmt.Errorf("duplicate output timeseries: %s", key)
		}
		groups[key].count += len(s.Values)
	}
	results := []*result{}
	for _, r := range groups {
		r.Value = [2]any{float64(at) / 1000, strconv.Itoa(r.count)}
		results = append(results, r)
	}
	slices.SortFunc(results, func(a, b *result) int { return strings.Compare(SeriesKey(a.Metric), SeriesKey(b.Metric)) })
	body, err := json.Marshal(map[string]any{
		"status": "success", "data": map[string]any{"resultType": "vector", "result": results},
	})
	return string(body), err
}

// group returns the labels under which a series is counted.
func (q countQuery) group(metric map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range metric {
		if name == "__name__" && !q.keepNames {
			continue
		}
		if !q.aggregate || slices.Contains(q.by, name) {
			out[name] = value
		}
	}
	return out
}
