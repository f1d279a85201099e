package testkit

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readStep returns the answer to everything but imports.
func (f *FakeVM) readStep(r *http.Request) (step Step) {
	err := r.ParseForm()
	f.mu.Lock()
	defer f.mu.Unlock()
	asks := r.URL.Path == "/api/v1/query" || strings.HasPrefix(r.URL.Path, "/api/v1/export")
	if asks && len(f.readSteps) > 0 {
		step, f.readSteps = f.readSteps[0], f.readSteps[1:]
	}
	switch {
	case step.Status != 0:
		return step
	case err != nil:
		step.Status, step.Body = http.StatusBadRequest, err.Error()
	default:
		step.Status, step.Body = f.answer(r.URL.Path, r.Form, time.Now())
	}
	step.Header = withMark(step.Header)
	return step
}

// answer is called with the lock held.
func (f *FakeVM) answer(path string, form url.Values, now time.Time) (status int, body string) {
	var err error
	switch path {
	case "/health":
		return http.StatusOK, "OK"
	case "/metrics":
		return http.StatusOK, fmt.Sprintf("vm_app_start_timestamp %d\nvm_rows_invalid_total{type=\"vmimport\"} %d\n",
			f.started.Unix(), f.invalid)
	case "/flags":
		return http.StatusOK, fmt.Sprintf("-dedup.minScrapeInterval=%q\n-retentionPeriod=%q\n",
			f.cfg.Dedup.String(), fmt.Sprintf("%dh", int(f.cfg.Retention.Hours())))
	case "/internal/force_flush":
		f.db.show()
		clear(f.emptySeen)
		return http.StatusOK, ""
	case "/api/v1/export":
		body, err = f.export(form, now, exportJSON)
	case "/api/v1/export/csv":
		body, err = f.export(form, now, exportCSV)
	case "/api/v1/query":
		if body, err = f.query(form, now); err != nil {
			return http.StatusUnprocessableEntity, fmt.Sprintf(`{"status":"error","errorType":"422","error":%q}`, err.Error())
		}
	default:
		err = fmt.Errorf("unsupported path requested: %q", path)
	}
	if err != nil {
		return http.StatusBadRequest, err.Error()
	}
	return http.StatusOK, body
}

// visible returns what reads see of the selectors' series. A selector that was
// asked before any of its series could be seen goes on finding nothing.
func (f *FakeVM) visible(now time.Time, sels []selector) []ExportedSeries {
	var texts []string
	for _, sel := range sels {
		texts = append(texts, sel.text)
	}
	asked := strings.Join(texts, " or ")
	if now.Before(f.emptySeen[asked]) {
		return nil
	}
	found := f.db.find(now.Add(-f.cfg.VisibleAfter), sels...)
	if len(found) == 0 {
		f.emptySeen[asked] = now.Add(f.cfg.Poison)
	}
	return found
}

func (f *FakeVM) export(form url.Values, now time.Time, write func(*strings.Builder, url.Values, ExportedSeries)) (string, error) {
	if len(form["match[]"]) == 0 {
		return "", fmt.Errorf("missing `match[]` arg")
	}
	var sels []selector
	for _, text := range form["match[]"] {
		sel, err := parseSelector(text)
		if err != nil {
			return "", fmt.Errorf("cannot parse matches[]=%s: %w", text, err)
		}
		sels = append(sels, sel)
	}
	from, err := timeArg(form, "start", time.UnixMilli(0))
	if err != nil {
		return "", err
	}
	to, err := timeArg(form, "end", now)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range f.visible(now, sels) {
		if form.Get("reduce_mem_usage") != "1" {
			s = s.dedup(f.cfg.Dedup)
		}
		if s = s.cut(from, to); len(s.Values) > 0 {
			write(&b, form, s)
		}
	}
	return b.String(), nil
}

func exportJSON(b *strings.Builder, _ url.Values, s ExportedSeries) {
	metric, err := json.Marshal(s.Metric)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	fmt.Fprintf(b, `{"metric":%s,"values":[`, metric)
	for i, v := range s.Values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(formatValue(v))
	}
	b.WriteString(`],"timestamps":[`)
	for i, ts := range s.Timestamps {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(ts, 10))
	}
	b.WriteString("]}\n")
}

func exportCSV(b *strings.Builder, form url.Values, s ExportedSeries) {
	for i := range s.Values {
		for j, field := range strings.Split(form.Get("format"), ",") {
			if j > 0 {
				b.WriteByte(',')
			}
			switch field {
			case "__value__":
				b.WriteString(formatValue(s.Values[i]))
			case "__timestamp__:unix_ms":
				b.WriteString(strconv.FormatInt(s.Timestamps[i], 10))
			case "__timestamp__:unix_s":
				b.WriteString(strconv.FormatInt(s.Timestamps[i]/1000, 10))
			default:
				b.WriteString(s.Metric[field])
			}
		}
		b.WriteByte('\n')
	}
}

// formatValue keeps 15 digits: the real server's storage keeps 12 to 15.
func formatValue(v float64) string { return strconv.FormatFloat(v, 'g', 15, 64) }

// timeArg reads Unix seconds, with a fraction, as milliseconds.
func timeArg(form url.Values, name string, otherwise time.Time) (int64, error) {
	text := form.Get(name)
	if text == "" {
		return otherwise.UnixMilli(), nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot parse %s=%s: %w", name, text, err)
	}
	return int64(math.Round(seconds * 1000)), nil
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
	type group struct {
		metric map[string]string
		count  int
		series int
	}
	groups := map[string]*group{}
	for _, s := range f.visible(now, []selector{q.sel}) {
		s = s.dedup(f.cfg.Dedup).cut(at-q.over.Milliseconds()+1, at)
		if len(s.Values) == 0 {
			continue
		}
		metric := q.group(s.Metric)
		key := SeriesKey(metric)
		if groups[key] == nil {
			groups[key] = &group{metric: metric}
		}
		groups[key].count += len(s.Values)
		groups[key].series++
	}
	type result struct {
		Metric map[string]string `json:"metric"`
		Value  [2]any            `json:"value"`
	}
	results := []result{}
	for key, g := range groups {
		if g.series > 1 && !q.aggregate {
			return "", fmt.Errorf("duplicate output timeseries: %s", key)
		}
		results = append(results, result{g.metric, [2]any{float64(at) / 1000, strconv.Itoa(g.count)}})
	}
	slices.SortFunc(results, func(a, b result) int {
		return strings.Compare(SeriesKey(a.Metric), SeriesKey(b.Metric))
	})
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
