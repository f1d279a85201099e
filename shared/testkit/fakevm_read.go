package testkit

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/shared/jsonline"
	"belabox-metrics/shared/selector"
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

// visible returns what reads see of the selectors' series. Selectors that were
// asked, as this text, before any of their series could be seen go on finding
// nothing.
func (f *FakeVM) visible(now time.Time, text string, sels ...selector.Selector) []ExportedSeries {
	if now.Before(f.emptySeen[text]) {
		return nil
	}
	found := f.db.find(now.Add(-f.cfg.VisibleAfter), sels)
	if len(found) == 0 {
		f.emptySeen[text] = now.Add(f.cfg.Poison)
	}
	return found
}

func (f *FakeVM) export(form url.Values, now time.Time, write func(*strings.Builder, url.Values, ExportedSeries)) (string, error) {
	if len(form["match[]"]) == 0 {
		return "", fmt.Errorf("missing `match[]` arg")
	}
	var sels []selector.Selector
	for _, text := range form["match[]"] {
		sel, err := selector.Parse(text)
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
	for _, s := range f.visible(now, strings.Join(form["match[]"], " or "), sels...) {
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
	values := make([]float64, len(s.Values))
	for i, v := range s.Values {
		values[i], _ = strconv.ParseFloat(formatValue(v), 64) // the text is a number's
	}
	b.Write(jsonline.Append(nil, jsonline.Canonical(s.Metric), s.Timestamps, values))
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
