package testkit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ExportedSeries is everything that a server has of one series.
type ExportedSeries struct {
	Metric     map[string]string // all labels, the name as __name__
	Values     []float64         // NaN where the server says null
	Timestamps []int64           // Unix milliseconds, ascending; equal ones stand as often as they are stored
}

// Key returns the series as text with its labels sorted, name{a="b",c="d"}.
func (s ExportedSeries) Key() string { return SeriesKey(s.Metric) }

// SeriesKey returns a set of labels as text, name{a="b",c="d"}: the same labels
// give the same text, whatever their order was.
func SeriesKey(metric map[string]string) string {
	var b strings.Builder
	b.WriteString(metric["__name__"])
	b.WriteByte('{')
	first := true
	for _, name := range slices.Sorted(maps.Keys(metric)) {
		if name == "__name__" {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(strconv.Quote(metric[name]))
	}
	b.WriteByte('}')
	return b.String()
}

// QueryResult is one series of an instant query's answer.
type QueryResult struct {
	Metric map[string]string
	Value  float64
}

// Client talks to a server with VictoriaMetrics' HTTP interface: the real one,
// FakeVM or the project's receiver. Its reads see everything that is stored, past
// the server's caches. BaseURL is "http://host:port", with a path prefix
// where there is one.
type Client struct {
	BaseURL string
	HTTP    *http.Client // nil: a connection for each request, straight to the server, at most 30 s
}

var directHTTP = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   30 * time.Second,
}

// Import posts JSON lines to /api/v1/import. An answer other than 2xx is an error.
func (c Client) Import(lines string) error {
	_, err := c.do(http.MethodPost, "/api/v1/import", "application/json", strings.NewReader(lines))
	return err
}

// Export returns all samples of the series that match one of the selectors
// ({device_id="d"}). Samples stored twice appear twice, unless the server runs
// with deduplication. The series are sorted by Key. It covers every time a server
// stores, two days of the future included (VictoriaMetrics' own default ends now).
func (c Client) Export(match ...string) ([]ExportedSeries, error) {
	return c.export(url.Values{"match[]": match})
}

// ExportRaw is Export past the server's deduplication (reduce_mem_usage=1).
//
// Not for more than a few series of a real server: VictoriaMetrics 1.79 to 1.150
// answers it with samples of one series under the name of another, once anybody
// has made a plain export since its start. Its workers then share memory, by way
// of the exportBlockPool of app/vmselect/prometheus.
func (c Client) ExportRaw(match ...string) ([]ExportedSeries, error) {
	return c.export(url.Values{"match[]": match, "reduce_mem_usage": {"1"}})
}

func (c Client) export(form url.Values) ([]ExportedSeries, error) {
	form.Set("start", "0")
	form.Set("end", strconv.FormatInt(time.Now().Add(72*time.Hour).Unix(), 10))
	body, err := c.post("/api/v1/export", form)
	if err != nil {
		return nil, err
	}
	return parseExport(body)
}

// Query runs an instant query. It sets nocache, without which the server answers
// a question about the last 30 s as if it had been asked for an earlier time
// (-search.latencyOffset).
func (c Client) Query(promql string, at time.Time) ([]QueryResult, error) {
	body, err := c.post("/api/v1/query", url.Values{
		"query":   {promql},
		"time":    {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)},
		"nocache": {"1"},
	})
	if err != nil {
		return nil, err
	}
	return parseQuery(body)
}

// ForceFlush makes everything imported so far visible to reads. It does not make
// it survive a kill.
func (c Client) ForceFlush() error {
	_, err := c.do(http.MethodGet, "/internal/force_flush", "", nil)
	return err
}

// Health returns nil when /health answers 200.
func (c Client) Health() error {
	_, err := c.do(http.MethodGet, "/health", "", nil)
	return err
}

func (c Client) post(path string, form url.Values) ([]byte, error) {
	return c.do(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

func (c Client) do(method, path, contentType string, body io.Reader) ([]byte, error) {
	address := c.BaseURL + path
	req, err := http.NewRequest(method, address, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	hc := c.HTTP
	if hc == nil {
		hc = directHTTP
	}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, address, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, address, resp.Status, bytes.TrimSpace(answer))
	}
	return answer, nil
}

// sampleValue reads a JSON number, and null as NaN: a float64 would stay 0.
type sampleValue float64

func (v *sampleValue) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*v = sampleValue(math.NaN())
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	*v = sampleValue(f)
	return err
}

// parseExport reads JSON lines. One series may stand on several of them.
func parseExport(body []byte) ([]ExportedSeries, error) {
	byKey := map[string]*ExportedSeries{}
	for line := range bytes.Lines(body) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var in struct {
			Metric     map[string]string
			Values     []sampleValue
			Timestamps []int64
		}
		if err := json.Unmarshal(line, &in); err != nil {
			return nil, fmt.Errorf("read exported line %.200q: %w", line, err)
		}
		if len(in.Values) != len(in.Timestamps) {
			return nil, fmt.Errorf("read exported line %.200q: %d values, %d timestamps", line, len(in.Values), len(in.Timestamps))
		}
		key := SeriesKey(in.Metric)
		s := byKey[key]
		if s == nil {
			s = &ExportedSeries{Metric: in.Metric}
			byKey[key] = s
		}
		s.Timestamps = append(s.Timestamps, in.Timestamps...)
		for _, v := range in.Values {
			s.Values = append(s.Values, float64(v))
		}
	}
	out := make([]ExportedSeries, 0, len(byKey))
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		byKey[key].sort()
		out = append(out, *byKey[key])
	}
	return out, nil
}

// sort orders the samples by time; those of one time stay in the order in which
// they came.
func (s *ExportedSeries) sort() {
	if slices.IsSorted(s.Timestamps) {
		return
	}
	order := make([]int, len(s.Timestamps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(s.Timestamps[a], s.Timestamps[b])
	})
	values, timestamps := make([]float64, len(order)), make([]int64, len(order))
	for to, from := range order {
		values[to], timestamps[to] = s.Values[from], s.Timestamps[from]
	}
	s.Values, s.Timestamps = values, timestamps
}

func parseQuery(body []byte) ([]QueryResult, error) {
	var in struct {
		Data struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any // Unix seconds, the value as text
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("read query answer %.200q: %w", body, err)
	}
	if in.Data.ResultType != "vector" {
		return nil, fmt.Errorf("read query answer %.200q: not a vector", body)
	}
	out := make([]QueryResult, 0, len(in.Data.Result))
	for _, r := range in.Data.Result {
		text, ok := r.Value[1].(string)
		if !ok {
			return nil, fmt.Errorf("read query answer %.200q: a value is not text", body)
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("read query answer: %w", err)
		}
		out = append(out, QueryResult{Metric: r.Metric, Value: value})
	}
	return out, nil
}
