package gateway

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
)

func TestExport_Parameters(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	for i := range 5 {
		ts.post(t, sample("a", float64(i), i*1000)+sample("b", float64(10+i), i*1000))
	}
	f := func(params url.Values, want ...string) {
		t.Helper()
		text := strings.Join(want, "\n")
		if text != "" {
			text += "\n"
		}
		if got := ts.export(t, params); got != text {
			t.Errorf("GET %v: got\n%swant\n%s", params, got, text)
		}
		form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		r := ts.do(t, "POST", "/api/v1/export", form, strings.NewReader(params.Encode()))
		if r.status != 200 || r.body != text {
			t.Errorf("POST %v: got %d\n%swant\n%s", params, r.status, r.body, text)
		}
	}
	// out is the line of a series with the samples from..to.
	out := func(name string, first, from, to int) string {
		var values, times []string
		for i := from; i <= to; i++ {
			values = append(values, strconv.Itoa(first+i))
			times = append(times, strconv.FormatInt(1700000000000+int64(i)*1000, 10))
		}
		return fmt.Sprintf(`{"metric":{"__name__":%q,"device_id":"d"},"values":[%s],"timestamps":[%s]}`, name,
			strings.Join(values, ","), strings.Join(times, ","))
	}
	a, b := out("a", 0, 0, 4), out("b", 10, 0, 4)

	f(match(`a`), a)
	f(match(`{device_id="d"}`), a, b)
	f(match(`b`, `a`), b, a)
	f(match(`a`, `{device_id="d"}`), a, b)
	f(match(`{device_id="e"}`))
	// Both ends are included; all the forms of a time.
	span := func(start, end string) url.Values {
		return url.Values{"match[]": {"a"}, "start": {start}, "end": {end}}
	}
	f(span("1700000001", "1700000003"), out("a", 0, 1, 3))
	f(span("1700000000.001", "1700000002.999"), out("a", 0, 1, 2))
	f(span("1700000001000", "1700000001000"), out("a", 0, 1, 1))
	f(span("2023-11-14T22:13:21Z", "2023-11-14T23:13:22.5+01:00"), out("a", 0, 1, 2))
	f(span("1700000003", ""), out("a", 0, 3, 4))
	f(span("", "1700000001"), out("a", 0, 0, 1))
	f(span("0", "1e300"), a)
	f(span("-5", "9999999999999"), a)
	f(span("1700000005", "1700000009"))
	f(span("1700000003", "1700000001"))
	// Long series in several lines.
	f(url.Values{"match[]": {"a"}, "max_rows_per_line": {"2"}}, out("a", 0, 0, 1), out("a", 0, 2, 3), out("a", 0, 4, 4))
	f(url.Values{"match[]": {"a"}, "max_rows_per_line": {"5"}}, a)
	f(url.Values{"match[]": {"a"}, "max_rows_per_line": {"999999999"}}, a)
}

func TestExport_BadParameters(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	f := func(params url.Values, text string) {
		t.Helper()
		wantFault(t, ts.do(t, "GET", "/api/v1/export?"+params.Encode(), nil, nil), 400, text)
	}
	f(nil, "match[] is missing")
	f(url.Values{"match": {"a"}}, "match[] is missing")
	f(match(""), "is empty")
	f(match("a", `{`), `parameter match[]: selector "{": expected a label name at its end`)
	f(match(strings.Repeat("{", 5000)), "expected a label name")
	f(match(slices.Repeat([]string{"a"}, maxSelectors+1)...), "more than 1000 parameters")
	f(url.Values{"match[]": {"a"}, "start": {"yesterday"}}, "parameter start: want unix seconds")
	f(url.Values{"match[]": {"a"}, "end": {"NaN"}}, "parameter end: want unix seconds")
	f(url.Values{"match[]": {"a"}, "end": {"2023-11-14"}}, "parameter end: want unix seconds")
	for _, rows := range []string{"0", "-1", "x", "1.5", "99999999999999999999"} {
		f(url.Values{"match[]": {"a"}, "max_rows_per_line": {rows}}, "parameter max_rows_per_line: want a number from 1")
	}
	wantFault(t, ts.do(t, "GET", "/api/v1/export?match[]=%zz", nil, nil), 400, "parameters cannot be read")
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	r := ts.do(t, "POST", "/api/v1/export", form, strings.NewReader("match[]="+strings.Repeat("a", maxFormBytes)))
	wantFault(t, r, 413, "parameters are larger than")
}

func TestExport_Gzip(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	var body strings.Builder
	for i := range 1000 {
		body.WriteString(sample("a", float64(i), i))
	}
	ts.post(t, body.String())
	path := "/api/v1/export?" + match("a").Encode()
	plain := ts.do(t, "GET", path, http.Header{"Accept-Encoding": {"identity"}}, nil)
	f := func(accept string, zipped bool) {
		t.Helper()
		r := ts.do(t, "GET", path, http.Header{"Accept-Encoding": {accept}}, nil)
		if got := r.header.Get("Content-Encoding") == "gzip"; got != zipped || r.header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("%q: got Content-Encoding %q", accept, r.header.Get("Content-Encoding"))
		}
		text := r.body
		if zipped {
			z, err := gzip.NewReader(strings.NewReader(r.body))
			if err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			text = string(all)
			if len(r.body) > len(text)/3 {
				t.Errorf("%q: got %d bytes for %d", accept, len(r.body), len(text))
			}
		}
		if text != plain.body || r.header.Get("Content-Type") != "application/stream+json; charset=utf-8" {
			t.Errorf("%q: got %.100s", accept, text)
		}
	}
	f("gzip", true)
	f("deflate, GZIP;q=0.5, br", true)
	f("identity", false)
	f("gzip;q=0", false)
	f("gzip;q=x", false)
	f("br", false)

	// Nothing found is still a good gzip stream.
	r := ts.do(t, "GET", "/api/v1/export?"+match("b").Encode(), http.Header{"Accept-Encoding": {"gzip"}}, nil)
	z, err := gzip.NewReader(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(z); err != nil || len(all) != 0 {
		t.Errorf("got %q, %v", all, err)
	}
}

// An export that breaks must not look like one that ended.
func TestExport_BreaksOff(t *testing.T) {
	t.Parallel()
	// The source breaks after as many pieces as the start of the range has seconds.
	ts := start(t, func(c *Config, _ *http.Server) {
		c.Source = sourceFunc(func(_ context.Context, q store.Query, yield func(*store.Piece) error) error {
			for range q.From / 1000 {
				if err := yield(&store.Piece{Metric: "{}", Timestamps: make([]int64, 5000), Values: make([]float64, 5000)}); err != nil {
					return err
				}
			}
			return errors.New("database disk image is malformed")
		})
	})
	for _, accept := range []string{"gzip", "identity"} {
		header := http.Header{"Accept-Encoding": {accept}}
		r := ts.do(t, "GET", "/api/v1/export?match[]=a&start=0", header, nil)
		wantFault(t, r, http.StatusInternalServerError, "the store cannot be read")

		for pieces := 1; pieces <= 3; pieces++ {
			url := fmt.Sprintf("%s/api/v1/export?match[]=a&start=%d", ts.URL, pieces)
			req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header
			resp, err := ts.Client().Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Errorf("%s, error after %d pieces: the answer looks whole", accept, pieces)
			}
		}
	}
	// Once a minute, however many requests meet it.
	if n := strings.Count(ts.log.String(), "export broke off"); n != 1 || !strings.Contains(ts.log.String(), "database disk image is malformed") {
		t.Errorf("got %d log lines, want 1:\n%s", n, ts.log.String())
	}
}

// A long export is not ended by the time limit for reading the request.
func TestExport_OutlastsReadTimeout(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	ts := start(t, func(c *Config, s *http.Server) {
		s.ReadTimeout, s.WriteTimeout = limit, 2*limit
		c.Source = sourceFunc(func(ctx context.Context, _ store.Query, yield func(*store.Piece) error) error {
			for range 5 {
				if err := yield(&store.Piece{Metric: "{}", Timestamps: []int64{1}, Values: []float64{1}}); err != nil {
					return err
				}
				select {
				case <-time.After(limit):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	if got := strings.Count(ts.export(t, match("a")), "\n"); got != 5 {
		t.Errorf("got %d lines, want 5", got)
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	f := func(text string, want int64) {
		t.Helper()
		if got, err := parseTime(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	f("0", 0)
	f("1", 1000)
	f("1700000000.123", 1700000000123)
	f("1700000000.9996", 1700000001000)
	f("1.7e9", 1700000000000)
	f("99999999999", 99999999999000)
	f("100000000000", 100000000000)
	f("1700000000123", 1700000000123)
	f("-1", 0)
	f("Inf", line.MaxTimestamp)
	f("1e18", line.MaxTimestamp)
	f("1970-01-01T00:00:01Z", 1000)
	f("2026-11-23T16:10:28.116Z", 1795450228116)
	f("0001-01-01T00:00:00Z", 0)
}

// What was imported comes out: random lines, some bad, in random chunks, against a map.
func TestExport_MatchesImport(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		device := "d" + strconv.Itoa(run)
		want := make(map[string]map[int64]float64)
		for range rapid.IntRange(1, 4).Draw(rt, "chunks") {
			body, accepted, rejected := drawChunk(rt, device, want)
			r := ts.postGzip(t, zip(t, body))
			if prefix := fmt.Sprintf(`{"accepted":%d,"rejected":%d,`, accepted, rejected); r.status != 200 ||
				!strings.HasPrefix(r.body, prefix) {
				rt.Fatalf("%s: got %d %s, want %s", body, r.status, r.body, prefix)
			}
		}
		rows := rapid.IntRange(1, 40).Draw(rt, "rows")
		params := match(fmt.Sprintf(`{device_id="%s"}`, device))
		params.Set("max_rows_per_line", strconv.Itoa(rows))
		got := make(map[string]map[int64]float64)
		var p line.Parser
		for text := range strings.Lines(ts.export(t, params)) {
			l, err := p.Parse([]byte(text))
			if err != nil || len(l.Rejects) > 0 || len(l.Timestamps) > rows || !slices.IsSorted(l.Timestamps) {
				rt.Fatalf("got line %s: %v %v", text, l, err)
			}
			name := l.Labels.Get("__name__")
			if got[name] == nil {
				got[name] = make(map[int64]float64)
			}
			for i, ts := range l.Timestamps {
				if _, twice := got[name][ts]; twice {
					rt.Fatalf("%s at %d comes twice", name, ts)
				}
				got[name][ts] = l.Values[i]
			}
		}
		if !maps.EqualFunc(got, want, maps.Equal) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

// drawChunk draws an import body, notes its good samples in want, and counts good and bad ones.
func drawChunk(t *rapid.T, device string, want map[string]map[int64]float64) (body string, accepted, rejected int) {
	for range rapid.IntRange(1, 5).Draw(t, "lines") {
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			body += `{"metric":{"__name__":"` + name + "\"},\"values\":[1\n"
			rejected++
			continue
		}
		var values, times []string
		for range rapid.IntRange(1, 20).Draw(t, "samples") {
			ts := rapid.Int64Range(1700000000000, 1700000000060).Draw(t, "timestamp")
			times = append(times, strconv.FormatInt(ts, 10))
			v := rapid.Float64().Draw(t, "value")
			if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
				values = append(values, rapid.SampledFrom([]string{"null", `"1"`, "NaN", "1e400"}).Draw(t, "rubbish"))
				rejected++
				continue
			}
			values = append(values, strconv.FormatFloat(v, 'g', -1, 64))
			accepted++
			if want[name] == nil {
				want[name] = make(map[int64]float64)
			}
			want[name][ts] = v
		}
		body += fmt.Sprintf(`{"metric":{"device_id":%q,"__name__":%q},"values":[%s],"timestamps":[%s]}`+"\n", device, name,
			strings.Join(values, ","), strings.Join(times, ","))
	}
	return body, accepted, rejected
}
