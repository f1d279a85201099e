package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/upstream"
)

// FuzzImport_Device: whatever a device sends, nothing but its own samples gets through, the answer's numbers add up, and what
// the upstream would read is what was counted.
func FuzzImport_Device(f *testing.F) {
	f.Add([]byte(of("d", "a", 0)+of("e", "a", 0)+"rubbish\n"), "", "")
	f.Add(zip(f, of("d", "a", 0)), "gzip", "")
	f.Add([]byte(`{"metric":{"device\u005fid":"e","device_id":"d","__name__":"x"},"values":[1],"timestamps":[1700000000000]}`), "", "extra_label=a=b")
	f.Add([]byte(`{"metric":{"device_id":"d\u0000","__name__":"x"},"values":[1e400,1],"timestamps":[1700000000000,0]}`), "identity", "x=%zz")
	f.Add([]byte("{\"metric\":{\"__name__\":\"x\",\"device_id\":\"d\"},\"values\":[1],\"timestamps\":[1700000000000]}\r\n\r\n\x00"), "", "")
	f.Fuzz(func(t *testing.T, body []byte, encoding, query string) {
		var got []line.Line
		sink := sinkFunc(func(_ context.Context, lines []line.Line) error { got = append(got, lines...); return nil })
		handler, _ := New(Config{Sink: sink, Tokens: someTokens, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), MaxDecodedBytes: 1 << 20})
		r := httptest.NewRequest("POST", "/api/v1/import", bytes.NewReader(body))
		r.URL.RawQuery = query
		r.Header = http.Header{"Authorization": {"Bearer td"}, "Content-Encoding": {encoding}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)

		stored := 0
		for _, l := range got {
			if l.Labels.Get(line.DeviceLabel) != "d" {
				t.Errorf("device %q got through: %q", l.Labels.Get(line.DeviceLabel), body)
			}
			// Read by another parser, the line that goes on says the same.
			var again struct{ Metric map[string]string }
			if err := json.Unmarshal(line.Append(nil, l.Metric, l.Timestamps, l.Values), &again); err != nil || again.Metric[line.DeviceLabel] != "d" {
				t.Errorf("%q becomes %q, %v", body, again.Metric, err)
			}
			stored += len(l.Timestamps)
		}
		if w.Code != http.StatusOK {
			if stored > 0 || w.Code >= 500 {
				t.Errorf("%d with %d samples stored: %s", w.Code, stored, w.Body)
			}
			return
		}
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Accepted != stored || (a.Rejected == 0) != (len(a.Lines) == 0) {
			t.Errorf("%d samples stored, answered %s, %v", stored, w.Body, err)
		}
	})
}

// FuzzQuestions: whatever a device asks, what goes on is about it alone.
func FuzzQuestions(f *testing.F) {
	f.Add(`sum(count_over_time({device_id="e"}[5ms]))`, `{device_id="e"}`, "1", "2")
	f.Add(`sum by (__name__) (count_over_time(m[5ms]) keep_metric_names)`, `m{a=~"x|y"}`, "x", "2026-01-02T15:04:05Z")
	f.Fuzz(func(t *testing.T, query, match, start, end string) {
		asked := &asked{}
		handler, _ := New(Config{Upstream: asked, Tokens: someTokens, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		for path, params := range map[string]map[string]string{
			"/api/v1/query": {"query": query, "time": end}, "/api/v1/export": {"match[]": match, "start": start, "end": end},
		} {
			r := httptest.NewRequest("GET", path, nil)
			form := r.URL.Query()
			for name, value := range params {
				form.Set(name, value)
			}
			r.URL.RawQuery = form.Encode()
			r.Header.Set("Authorization", "Bearer td")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusForbidden {
				t.Errorf("%s: got %d %s", path, w.Code, w.Body)
			}
		}
		for _, text := range asked.texts {
			if !bytes.Contains([]byte(text), []byte(`{device_id="d"`)) {
				t.Errorf("%q, %q became %q", query, match, text)
			}
		}
	})
}

// asked is an upstream that notes what it is asked for.
type asked struct{ texts []string }

var _ Upstream = (*upstream.Server)(nil)

func (a *asked) Export(_ context.Context, form url.Values, _ []string, _ func([]byte) error) error {
	a.texts = append(a.texts, form["match[]"]...)
	return nil
}

func (a *asked) Query(_ context.Context, promql string, _ int64, _ []string) ([]byte, error) {
	a.texts = append(a.texts, promql)
	return []byte("{}"), nil
}
