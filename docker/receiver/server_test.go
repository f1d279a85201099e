package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"belabox-metrics/shared/jsonline"
	"belabox-metrics/shared/testkit"
)

// testServer is a receiver on a loopback port, with a store of its own.
type testServer struct {
	*httptest.Server
	store *store
	log   *testkit.Buffer
}

// start starts a receiver. change may change it, or shorten the time limits.
func start(t testing.TB, change func(*receiver, *http.Server)) *testServer {
	t.Helper()
	c, err := parseFlags(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, newDB(t))
	buffer := new(testkit.Buffer)
	log := slog.New(slog.NewTextHandler(buffer, nil))
	rc := newReceiver(c, s, log)
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = newServer(rc, log)
	if change != nil {
		change(rc, ts.Config)
	}
	ts.Start()
	t.Cleanup(ts.Close)
	return &testServer{ts, s, buffer}
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func (ts *testServer) do(t testing.TB, method, path string, header http.Header, body io.Reader) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, ts.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func (ts *testServer) post(t testing.TB, body string) reply {
	t.Helper()
	return ts.do(t, "POST", "/api/v1/import", nil, strings.NewReader(body))
}

func (ts *testServer) postGzip(t testing.TB, body []byte) reply {
	t.Helper()
	return ts.do(t, "POST", "/api/v1/import", http.Header{"Content-Encoding": {"gzip"}}, bytes.NewReader(body))
}

// export returns the lines that params select.
func (ts *testServer) export(t testing.TB, params url.Values) string {
	t.Helper()
	r := ts.do(t, "GET", "/api/v1/export?"+params.Encode(), nil, nil)
	if r.status != http.StatusOK {
		t.Fatalf("export %v: got %d %s", params, r.status, r.body)
	}
	return r.body
}

func match(selectors ...string) url.Values { return url.Values{"match[]": selectors} }

func zip(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sample is an import line with one sample at t0 + ms.
func sample(name string, value float64, ms int) string {
	return fmt.Sprintf(`{"metric":{"__name__":%q,"device_id":"d"},"values":[%v],"timestamps":[%d]}`+"\n", name, value, t0+int64(ms))
}

func wantError(t testing.TB, r reply, status int, text string) {
	t.Helper()
	var body struct{ Error string }
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %q (%s), want a JSON object", r.status, r.body, r.header.Get("Content-Type"))
	}
	if r.status != status || !strings.Contains(body.Error, text) {
		t.Errorf("got %d %q, want %d %q", r.status, body.Error, status, text)
	}
	if len(r.body) > 500 {
		t.Errorf("got an error of %d bytes", len(r.body))
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	f := func(method, path string, status int, body string) {
		t.Helper()
		r := ts.do(t, method, path, nil, nil)
		if r.status != status || !strings.Contains(r.body, body) {
			t.Errorf("%s %s: got %d %q, want %d %q", method, path, r.status, r.body, status, body)
		}
	}
	f("GET", "/health", 200, "OK")
	f("HEAD", "/health", 200, "")
	f("GET", "/", 200, "belabox-metrics receiver")
	f("GET", "/nothing", 404, `{"error":`)
	f("GET", "/api/v1/query", 404, `{"error":`) // shipperd then counts by export
	for path, allow := range map[string]string{
		"/api/v1/import": "POST", "/api/v1/export": "GET, POST", "/health": "GET, HEAD", "/": "GET, HEAD",
	} {
		r := ts.do(t, "DELETE", path, nil, nil)
		wantError(t, r, http.StatusMethodNotAllowed, "use "+allow)
		if got := r.header.Get("Allow"); got != allow {
			t.Errorf("DELETE %s: got Allow %q, want %q", path, got, allow)
		}
	}
	f("HEAD", "/api/v1/export", 405, "")
}

// The form of the answer is fixed: shippers parse it.
func TestImport_Answer(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	f := func(body, want string) {
		t.Helper()
		for _, r := range []reply{ts.post(t, body), ts.postGzip(t, zip(t, body))} {
			if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/json" {
				t.Fatalf("got %d %s: %s", r.status, r.header.Get("Content-Type"), r.body)
			}
			if got := strings.TrimSpace(r.body); got != want {
				t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
			}
		}
	}
	f(sample("a", 1, 0), `{"accepted":1,"rejected":0,"lines":[]}`)
	f(sample("a", 1, 0)+sample("a", 2, 1), `{"accepted":2,"rejected":0,"lines":[]}`)
	// The last line may lack its end.
	f(strings.TrimSpace(sample("a", 1, 0)), `{"accepted":1,"rejected":0,"lines":[]}`)
	// One sample of a line.
	f(sample("a", 1, 0)+`{"metric":{"__name__":"b"},"values":[1e999,2],"timestamps":[1700000000000,1700000001000]}`,
		`{"accepted":2,"rejected":1,"lines":[`+
			`{"line":2,"reason":"value is out of the range of a 64-bit float","retry":false,"timestamps":[1700000000000]}]}`)
	// Whole lines; blank ones are counted and passed over.
	f("\n \r\nrubbish\n"+sample("a", 3, 3)+`{"metric":{"__name__":"b"},"values":[1,2,3],"timestamps":[1700000000000]}`,
		`{"accepted":1,"rejected":4,"lines":[`+
			`{"line":3,"reason":"line is not a JSON object","retry":false},`+
			`{"line":5,"reason":"line has 3 values and 1 timestamps","retry":false}]}`)
	// Two reasons in one line.
	f(`{"metric":{"__name__":"b"},"values":[-1e999,2,3,4],"timestamps":[1700000000000,1700000001,1700000002000,1700000002]}`,
		`{"accepted":1,"rejected":3,"lines":[`+
			`{"line":1,"reason":"value is out of the range of a 64-bit float","retry":false,"timestamps":[1700000000000]},`+
			`{"line":1,"reason":"timestamp is before 1973; timestamps are in milliseconds since 1970","retry":false,`+
			`"timestamps":[1700000001,1700000002]}]}`)
	f(`{"metric":{"__name__":"b"},"values":[1],"timestamps":[1700000000000000]}`, `{"accepted":0,"rejected":1,"lines":[`+
		`{"line":1,"reason":"timestamp is after the year 9999; timestamps are in milliseconds since 1970","retry":false,`+
		`"timestamps":[1700000000000000]}]}`)
	// Nothing good in it.
	f("rubbish", `{"accepted":0,"rejected":1,"lines":[{"line":1,"reason":"line is not a JSON object","retry":false}]}`)

	want := `{"metric":{"__name__":"a","device_id":"d"},"values":[1,2,3],"timestamps":[1700000000000,1700000000001,1700000000003]}
{"metric":{"__name__":"b"},"values":[2,3],"timestamps":[1700000001000,1700000002000]}
`
	if got := ts.export(t, match(everything)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	ts.do(t, "POST", "/api/v1/import?extra_label=device_id=e&extra_label=room=1", nil, strings.NewReader(sample("x", 1, 0)))
	want = `{"metric":{"__name__":"x","device_id":"e","room":"1"},"values":[1],"timestamps":[1700000000000]}` + "\n"
	if got := ts.export(t, match("x")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestImport_Unusable(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	gz := http.Header{"Content-Encoding": {"gzip"}}
	good := sample("a", 1, 0) + sample("b", 1, 0)
	zipped := zip(t, good)
	damaged := zip(t, good)
	damaged[len(damaged)-5] ^= 0xff // in the checksum, after all the text
	f := func(header http.Header, body string, status int, text string) {
		t.Helper()
		wantError(t, ts.do(t, "POST", "/api/v1/import", header, strings.NewReader(body)), status, text)
	}
	f(nil, string(zipped), 400, "there is no header Content-Encoding")
	f(gz, good, 400, "is not gzip")
	f(gz, "", 400, "nothing was stored")
	f(gz, "\x1f", 400, "nothing was stored")
	f(gz, string(zipped[:len(zipped)/2]), 400, "cut short")
	f(gz, string(zipped[:len(zipped)-1]), 400, "cut short")
	f(gz, string(damaged), 400, "nothing was stored")
	f(gz, string(zipped)+"trailing rubbish", 400, "nothing was stored")
	f(http.Header{"Content-Encoding": {"zstd"}}, good, 415, "must be gzip or absent")
	if got := ts.export(t, match(everything)); got != "" {
		t.Errorf("got %s, want nothing stored", got)
	}
	// A body without lines is none, as for VictoriaMetrics: shipperd doctor asks so.
	for _, r := range []reply{ts.post(t, ""), ts.post(t, "\n\r\n  \n"), ts.postGzip(t, zip(t, ""))} {
		if r.status != http.StatusNoContent || r.header.Get("Server") != "belabox-metrics-receiver" {
			t.Errorf("no lines: got %d %v %s", r.status, r.header, r.body)
		}
	}
	// Two gzip members are one body, as RFC 1952 has it.
	if r := ts.postGzip(t, append(zip(t, sample("a", 1, 0)), zip(t, sample("b", 1, 0))...)); !strings.HasPrefix(r.body, `{"accepted":2,`) {
		t.Errorf("two members: got %d %s", r.status, r.body)
	}
}

func TestImport_Limits(t *testing.T) {
	t.Parallel()
	const maxBody, maxText = 100_000, 1_000_000
	ts := start(t, func(rc *receiver, _ *http.Server) { rc.maxBody, rc.maxText = maxBody, maxText })
	one := sample("a", 1, 0)
	fill := func(n int) string { return one + strings.Repeat(" ", n-len(one)) }

	if r := ts.post(t, fill(maxBody)); r.status != 200 {
		t.Errorf("body of the limit: got %d %s", r.status, r.body)
	}
	wantError(t, ts.post(t, fill(maxBody+1)), 413, "body is larger than 100000 bytes")
	// Without a length in the header.
	r := ts.do(t, "POST", "/api/v1/import", nil, struct{ *strings.Reader }{strings.NewReader(fill(maxBody + 1))})
	wantError(t, r, 413, "body is larger than 100000 bytes")

	if r := ts.postGzip(t, zip(t, fill(maxText))); r.status != 200 {
		t.Errorf("decoded body of the limit: got %d %s", r.status, r.body)
	}
	wantError(t, ts.postGzip(t, zip(t, fill(maxText+1))), 413, "larger than 1000000 bytes after decompression")
	// A bomb: 50 MB in 50 kB, good lines first.
	wantError(t, ts.postGzip(t, zip(t, one+strings.Repeat(" ", 50_000_000))), 413, "after decompression")
}

func TestImport_CountLimits(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	wantError(t, ts.postGzip(t, zip(t, sample("a", 1, 0)+strings.Repeat("x\n", maxLines))), 413, "more than 100000 lines")
	half := `{"metric":{"__name__":"a"},"values":[` + strings.Repeat("1,", maxSamples/2) + `1],"timestamps":[` +
		strings.Repeat("1,", maxSamples/2) + "1]}\n"
	wantError(t, ts.postGzip(t, zip(t, half+half)), 413, "more than 1000000 samples")
	long := sample("a", 1, 0) + strings.Repeat("x", jsonline.MaxLineBytes+1)
	wantError(t, ts.postGzip(t, zip(t, long)), 413, "a line is longer than")
	if got := ts.export(t, match(everything)); got != "" {
		t.Errorf("got %.200s, want nothing stored", got)
	}
	exact := strings.TrimSpace(sample("a", 3, 2))
	exact += strings.Repeat(" ", jsonline.MaxLineBytes-len(exact)-1) + "\n"
	if r := ts.postGzip(t, zip(t, exact+sample("a", 4, 3))); !strings.HasPrefix(r.body, `{"accepted":2,"rejected":0`) {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

// A chunk that is sent again, whole or cut otherwise, changes nothing and is accepted. Another
// value for a stored timestamp replaces it: the last write wins.
func TestImport_Idempotent(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	var body strings.Builder
	for i := range 100 {
		body.WriteString(sample("m", float64(i), i) + sample(fmt.Sprintf("n%d", i%7), 0.5, i))
	}
	first := ts.post(t, body.String())
	before := ts.export(t, match(everything))
	for range 3 {
		if again := ts.postGzip(t, zip(t, body.String())); again.body != first.body {
			t.Errorf("got %s, want %s", again.body, first.body)
		}
		if r := ts.post(t, body.String()[:strings.IndexByte(body.String(), '\n')+1]); r.body != `{"accepted":1,"rejected":0,"lines":[]}`+"\n" {
			t.Errorf("a part again: got %s", r.body)
		}
	}
	if after := ts.export(t, match(everything)); after != before {
		t.Errorf("got %s, want %s", after, before)
	}
	if !strings.HasPrefix(first.body, `{"accepted":200,"rejected":0,`) || strings.Count(before, "\n") != 8 {
		t.Errorf("got %s and %s", first.body, before)
	}

	ts.post(t, sample("a", 1, 0)+sample("a", 2, 1))
	ts.post(t, sample("a", 9, 0))
	ts.post(t, sample("a", 5, 1)+sample("a", 6, 1))
	want := `{"metric":{"__name__":"a","device_id":"d"},"values":[9,6],"timestamps":[1700000000000,1700000000001]}` + "\n"
	if got := ts.export(t, match("a")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestImport_Retention(t *testing.T) {
	t.Parallel()
	ts := start(t, func(rc *receiver, _ *http.Server) { rc.retention = time.Hour })
	now := time.Now().UnixMilli()
	old, young := now-time.Hour.Milliseconds()-1000, now-time.Hour.Milliseconds()+600_000
	r := ts.post(t, fmt.Sprintf(`{"metric":{"__name__":"a"},"values":[1,2],"timestamps":[%d,%d]}`, old, young))
	want := fmt.Sprintf(`{"accepted":1,"rejected":1,"lines":[{"line":1,"reason":"timestamp is older than the retention",`+
		`"retry":false,"timestamps":[%d]}]}`+"\n", old)
	if r.body != want {
		t.Errorf("got %s, want %s", r.body, want)
	}
}

// A store that cannot be written: 503 with the time to come back, and a log that does not flood.
func TestImport_StoreFails(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	if _, err := ts.store.write.Exec("ALTER TABLE samples RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r := ts.post(t, sample("a", 1, 0))
		wantError(t, r, http.StatusServiceUnavailable, "nothing was stored")
		if got := r.header.Get("Retry-After"); got != "10" {
			t.Errorf("got Retry-After %q, want 10", got)
		}
	}
	wantError(t, ts.do(t, "POST", "/api/v1/import", nil, strings.NewReader("rubbish")), 503, "nothing was stored")
	if _, err := ts.store.write.Exec("ALTER TABLE away RENAME TO samples"); err != nil {
		t.Fatal(err)
	}
	if r := ts.post(t, sample("a", 1, 0)); r.status != 200 {
		t.Errorf("after the outage: got %d %s", r.status, r.body)
	}
	log := ts.log.String()
	if strings.Count(log, "storing samples failed") != 1 || strings.Count(log, "storing samples works again\" failures=4") != 1 {
		t.Errorf("got log %s", log)
	}
}

// Whatever is sent, the answer is one of the few that are promised, and it adds up.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		sample("a", 1, 0) + sample("b", 2, 1), "\n\n", "x\n" + sample("a", 1, 0),
		`{"metric":{"__name__":"a"},"values":[1,1e999,3],"timestamps":[1700000000000,1700000000001,5]}`, "\x1f\x8b\x08",
	} {
		f.Add([]byte(seed), false)
		f.Add(zip(f, seed), true)
	}
	ts := start(f, nil)
	f.Fuzz(func(t *testing.T, body []byte, zipped bool) {
		var r reply
		if zipped {
			r = ts.postGzip(t, body)
		} else {
			r = ts.post(t, string(body))
		}
		if r.status != http.StatusOK {
			if r.status != 204 && r.status != 400 && r.status != 413 {
				t.Fatalf("got %d %s", r.status, r.body)
			}
			return
		}
		var a details
		if err := json.Unmarshal([]byte(r.body), &a); err != nil {
			t.Fatal(err)
		}
		named, last := 0, 0
		for _, l := range a.Lines {
			if l.Line < last || l.Line < 1 || l.Reason == "" || l.Retry {
				t.Fatalf("got %+v after line %d", l, last)
			}
			last, named = l.Line, named+len(l.Timestamps)
		}
		if a.Rejected < named || (a.Rejected > 0) != (len(a.Lines) > 0) || !utf8.ValidString(r.body) {
			t.Fatalf("it does not add up: %q", r.body)
		}
	})
}

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
			times = append(times, strconv.FormatInt(t0+int64(i)*1000, 10))
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
		wantError(t, ts.do(t, "GET", "/api/v1/export?"+params.Encode(), nil, nil), 400, text)
	}
	f(nil, "match[] is missing")
	f(url.Values{"match": {"a"}}, "match[] is missing")
	f(match("a", `{`), `parameter match[]: parse selector "{"`)
	f(match(strings.Repeat("{", 5000)), "parse selector")
	f(match(slices.Repeat([]string{"a"}, maxSelectors+1)...), "more than 100 parameters")
	f(url.Values{"match[]": {"a"}, "start": {"yesterday"}}, "parameter start: want unix seconds")
	f(url.Values{"match[]": {"a"}, "end": {"NaN"}}, "parameter end: want unix seconds")
	f(url.Values{"match[]": {"a"}, "end": {"2023-11-14"}}, "parameter end: want unix seconds")
	for _, rows := range []string{"0", "-1", "x", "1.5", "99999999999999999999"} {
		f(url.Values{"match[]": {"a"}, "max_rows_per_line": {rows}}, "parameter max_rows_per_line: want a number above 0")
	}
	wantError(t, ts.do(t, "GET", "/api/v1/export?match[]=%zz", nil, nil), 400, "parameters cannot be read")
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	r := ts.do(t, "POST", "/api/v1/export", form, strings.NewReader("match[]="+strings.Repeat("a", maxFormBytes)))
	wantError(t, r, 413, "parameters are larger than")
}

func TestExport_Gzip(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	ts.post(t, sample("a", 1, 0))
	for name, want := range map[string]string{"a": sample("a", 1, 0), "nothing": ""} {
		path := "/api/v1/export?" + match(name).Encode()
		if r := ts.do(t, "GET", path, http.Header{"Accept-Encoding": {"identity"}}, nil); r.body != want ||
			r.header.Get("Content-Encoding") != "" || r.header.Get("Content-Type") != "application/stream+json; charset=utf-8" {
			t.Errorf("plain: got %v %s", r.header, r.body)
		}
		r := ts.do(t, "GET", path, http.Header{"Accept-Encoding": {"deflate, gzip"}}, nil)
		z, err := gzip.NewReader(strings.NewReader(r.body))
		if err != nil || r.header.Get("Content-Encoding") != "gzip" || r.header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("gzip: got %v, %v", r.header, err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != want {
			t.Errorf("gzip: got %s, %v", text, err)
		}
	}
}

// An export that breaks must not look like one that ended.
func TestExport_BreaksOff(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	var lines []jsonline.Line
	for i := range seriesPerPage + 1 {
		lines = append(lines, series("m"+strconv.Itoa(i), "d", 0, 1))
	}
	insert(t, ts.store, lines...)
	// The last series is read when the others have been sent.
	if _, err := ts.store.write.Exec(`UPDATE series SET metric = 'damaged', name = 'damaged' WHERE id = ?`, len(lines)); err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{"identity", "gzip"} {
		header := http.Header{"Accept-Encoding": {accept}}
		wantError(t, ts.do(t, "GET", "/api/v1/export?match[]=damaged", header, nil), 500, "the samples cannot be read")
		req, err := http.NewRequestWithContext(t.Context(), "GET", ts.URL+"/api/v1/export?"+match(everything).Encode(), nil)
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
			t.Errorf("%s: the answer looks whole", accept)
		}
	}
	if n := strings.Count(ts.log.String(), "export failed"); n != 1 {
		t.Errorf("got %d log lines, want 1:\n%s", n, ts.log.String())
	}
}

// A long export is not ended by the time limit for reading the request.
func TestExport_OutlastsReadTimeout(t *testing.T) {
	t.Parallel()
	ts := start(t, func(_ *receiver, s *http.Server) { s.ReadTimeout = 2 * time.Second })
	if r := ts.post(t, sample("a", 1, 0)); r.status != 200 {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	ts.store.read.SetMaxOpenConns(1)
	reader, err := ts.store.read.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2500*time.Millisecond, func() { _ = reader.Close() })
	// On a reused connection the client would repeat a request that failed.
	ts.Client().CloseIdleConnections()
	if got := ts.export(t, match("a")); !strings.Contains(got, `"a"`) {
		t.Errorf("got %q", got)
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
	f("Inf", maxTimestamp)
	f("1e18", maxTimestamp)
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
		want := contents{}
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
		got := contents{}
		for text := range strings.Lines(ts.export(t, params)) {
			l, err := jsonline.Parse([]byte(text), nil)
			if err != nil || len(l.Timestamps) > rows || !slices.IsSorted(l.Timestamps) {
				rt.Fatalf("got line %s: %v %v", text, l, err)
			}
			before := got.samples()
			got.add([]jsonline.Line{l})
			if got.samples() != before+len(l.Timestamps) {
				rt.Fatalf("a sample comes twice: %s", text)
			}
		}
		if !maps.EqualFunc(got, want, maps.Equal) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

// drawChunk draws an import body, adds its good samples to want, and counts good and bad ones.
func drawChunk(t *rapid.T, device string, want contents) (body string, accepted, rejected int) {
	for range rapid.IntRange(1, 5).Draw(t, "lines") {
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			body += `{"metric":{"__name__":"` + name + "\"},\"values\":[1\n"
			rejected++
			continue
		}
		l := series(name, device, 0, 0)
		good := l
		for range rapid.IntRange(1, 20).Draw(t, "samples") {
			ts := rapid.Int64Range(t0, t0+60).Draw(t, "timestamp")
			if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
				l.Timestamps, l.Values = append(l.Timestamps, ts/1000), append(l.Values, 1)
				rejected++
				continue
			}
			l.Timestamps, l.Values = append(l.Timestamps, ts), append(l.Values, rapid.Float64().Draw(t, "value"))
			good.Timestamps, good.Values = append(good.Timestamps, ts), append(good.Values, l.Values[len(l.Values)-1])
			accepted++
		}
		if len(good.Timestamps) > 0 {
			want.add([]jsonline.Line{good})
		}
		body += string(jsonline.Append(nil, jsonline.Canonical(l.Metric), l.Timestamps, l.Values))
	}
	return body, accepted, rejected
}

// dial opens a connection and sends text.
func (ts *testServer) dial(t testing.TB, text string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// firstLine reads the status line; "" when the server closed without one. The test's own time limit
// is the guard.
func firstLine(conn net.Conn) string {
	text, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(text)
}

const importHead = "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"

// Clients that stop in the middle are dropped after the time limit.
func TestHostile_SlowClients(t *testing.T) {
	t.Parallel()
	ts := start(t, func(_ *receiver, s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = 300*time.Millisecond, 600*time.Millisecond, 300*time.Millisecond
	})
	var slow []net.Conn
	for range 10 {
		slow = append(slow,
			ts.dial(t, ""), // says nothing
			ts.dial(t, "POST /api/v1/import HTTP/1.1\r\nX-Slow: "), // stops in its header
			ts.dial(t, importHead+sample("slow", 1, 0)),            // stops in its body
		)
	}
	for i, conn := range slow {
		got := firstLine(conn)
		if i%3 == 2 && got != "HTTP/1.1 408 Request Timeout" || i%3 == 0 && got != "" {
			t.Errorf("slow client %d: got %q", i, got)
		}
	}
	if got := ts.export(t, match("slow")); got != "" {
		t.Errorf("got %s, want nothing of the slow bodies stored", got)
	}
}

// While all places are taken, further requests are refused with the time to come back; /health is
// not.
func TestHostile_Busy(t *testing.T) {
	t.Parallel()
	var places chan struct{}
	ts := start(t, func(rc *receiver, _ *http.Server) {
		for places = rc.running; len(places) < maxRequests-1; {
			places <- struct{}{}
		}
	})
	conn := ts.dial(t, importHead+sample("slow", 1, 0))
	testkit.Eventually(t, 2*time.Minute, "the last place to be taken", func() bool {
		return len(places) == maxRequests // a request that asks could take it itself
	})
	if r := ts.post(t, sample("a", 1, 0)); r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") != "1" {
		t.Errorf("one too many: got %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
	if r := ts.do(t, "GET", "/health", nil, nil); r.status != 200 {
		t.Errorf("health: got %d", r.status)
	}
	conn.Close()
	testkit.Eventually(t, 2*time.Minute, "the place to be free again", func() bool {
		return ts.post(t, sample("a", 1, 0)).status == http.StatusOK
	})
}

// A body that is cut leaves nothing behind, also not the lines that arrived whole.
func TestHostile_CutBody(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	for _, text := range []string{
		importHead + sample("cut", 1, 0) + sample("cut", 1, 1),
		// Without the last chunk.
		"POST /api/v1/import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
			fmt.Sprintf("%x\r\n%s\r\n", len(sample("cut", 1, 0)), sample("cut", 1, 0)),
	} {
		conn := ts.dial(t, text)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := firstLine(conn); got != "HTTP/1.1 400 Bad Request" {
			t.Errorf("got %q", got)
		}
	}
	if got := ts.export(t, match("cut")); got != "" {
		t.Errorf("got %s, want nothing", got)
	}
}

// A client that has closed its side of the connection may still read. It must not get an empty 200,
// which would mean "all stored" after an import and "there is nothing" after an export.
func TestHostile_HalfClosed(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	// Others write and read, until both clients have gone.
	tx, err := ts.store.write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	ts.store.read.SetMaxOpenConns(1)
	reader, err := ts.store.read.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(tx.Rollback(), reader.Close()); err != nil {
			t.Error(err)
		}
	}()
	f := func(request, want string) {
		t.Helper()
		conn := ts.dial(t, request)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := firstLine(conn); got != want {
			t.Errorf("%.20s: got %q, want %q", request, got, want)
		}
	}
	body := sample("a", 1, 0)
	f(fmt.Sprintf("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body), "")
	f("GET /api/v1/export?match[]=a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 500 Internal Server Error")
}

func TestHostile_Requests(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	f := func(text, want string) {
		t.Helper()
		if got := firstLine(ts.dial(t, text)); got != want {
			t.Errorf("%.80q: got %q, want %q", text, got, want)
		}
	}
	f("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP at all\r\n\r\n", "HTTP/1.1 400 Bad Request")
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 Bad Request")
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "HTTP/1.1 400 Bad Request")
	// Announced as too large, it is refused before it is sent.
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000\r\nExpect: 100-continue\r\n\r\n",
		"HTTP/1.1 413 Request Entity Too Large")
	f("GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 80<<10), "HTTP/1.1 431 Request Header Fields Too Large")
	f("GET /"+strings.Repeat("x", 10_000)+" HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found")
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 Bad Request")
	f("POST /api/v1/export HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nmatch[]=%",
		"HTTP/1.1 400 Bad Request")
}

// Bombs at once stay within their memory: 10 of 100 MB each, where 64 MiB is the limit.
func TestHostile_Bombs(t *testing.T) {
	// Not parallel: it looks at the memory of the process.
	ts := start(t, nil)
	bomb := zip(t, strings.Repeat("\n", 100<<20))
	long := zip(t, strings.Repeat("x", 100<<20))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for range 5 {
		for _, body := range [][]byte{bomb, long} {
			wg.Go(func() { wantError(t, ts.postGzip(t, body), 413, "") })
		}
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 256<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
}

// Many clients at once, good and bad mixed: every good sample is stored, no client gets another's
// faults.
func TestHostile_Mixed(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	const clients, chunks = 8, 10
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := range chunks {
				switch name := fmt.Sprintf("m%d", c); c % 4 {
				case 0, 1:
					r := ts.postGzip(t, zip(t, sample(name, 1, n)+sample(name, 1, 1000+n)))
					if r.body != `{"accepted":2,"rejected":0,"lines":[]}`+"\n" {
						t.Errorf("good client: got %d %s", r.status, r.body)
					}
				case 2:
					r := ts.post(t, sample(name, 1, n)+"rubbish\n"+sample(name, 1, 1000+n))
					if !strings.HasPrefix(r.body, `{"accepted":2,"rejected":1,`) {
						t.Errorf("half good client: got %d %s", r.status, r.body)
					}
				case 3:
					wantError(t, ts.postGzip(t, []byte(sample(name, 1, n))), 400, "not gzip")
				}
			}
		})
	}
	wg.Wait()
	for c := range clients {
		want := 2 * chunks
		if c%4 == 3 {
			want = 0
		}
		if got := strings.Count(ts.export(t, match(fmt.Sprintf("m%d", c))), "17000000"); got != want {
			t.Errorf("client %d: got %d samples, want %d", c, got, want)
		}
	}
}

// A panic ends its own request and is logged with its stack.
func TestPanic(t *testing.T) {
	t.Parallel()
	boom := true
	ts := start(t, func(_ *receiver, s *http.Server) {
		next := s.Handler
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if boom {
				boom = false
				panic("boom")
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := ts.Client().Post(ts.URL+"/api/v1/import", "", strings.NewReader(sample("a", 1, 0))); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a cut connection", err)
	}
	if r := ts.post(t, sample("a", 1, 0)); r.status != http.StatusOK {
		t.Errorf("the next request: got %d %s", r.status, r.body)
	}
	if log := ts.log.String(); !strings.Contains(log, "boom") || !strings.Contains(log, "server_test.go") {
		t.Errorf("got log %s", log)
	}
}

func BenchmarkImport(b *testing.B) {
	ts := start(b, nil)
	for n := 0; b.Loop(); n++ {
		var body strings.Builder
		for i := range 100 {
			l := series("m"+strconv.Itoa(i), "d", 0.5, 25)
			for k := range l.Timestamps {
				l.Timestamps[k] += int64(n) * 25_000
			}
			body.Write(jsonline.Append(nil, jsonline.Canonical(l.Metric), l.Timestamps, l.Values))
		}
		if r := ts.postGzip(b, zip(b, body.String())); r.status != 200 {
			b.Fatal(r.body)
		}
	}
}
