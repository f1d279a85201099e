package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/docker/receiver/internal/upstream"
	"belabox-metrics/shared/testkit"
)

// before starts a gateway with tokens before an upstream.
func before(t testing.TB, importURL string) *testServer {
	t.Helper()
	u, err := upstream.New(upstream.Config{URL: importURL, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return start(t, func(c *Config, _ *http.Server) { c.Tokens, c.Sink, c.Source, c.Upstream = someTokens, u, nil, u })
}

// lately is an import line of a device with n samples of the last seconds.
func lately(device, name string, n int) string {
	var values, times []string
	for i := range n {
		values = append(values, fmt.Sprint(i))
		times = append(times, fmt.Sprint(time.Now().UnixMilli()-int64(n-i)*10))
	}
	return fmt.Sprintf(`{"metric":{"__name__":%q,"device_id":%q},"values":[%s],"timestamps":[%s]}`+"\n", name, device,
		strings.Join(values, ","), strings.Join(times, ","))
}

// The real server behind the gateway: each device sees its own samples and no others, in exports and in counts.
func TestUpstream_OwnSamplesOnly(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	ts := before(t, vm.ImportURL())
	for token, body := range map[string]string{
		"td": lately("d", "a", 3) + lately("d", "b", 2), "te": lately("e", "a", 4), "tboth": lately("old.1", "a", 5),
	} {
		if r := ts.as(t, token, "POST", "/api/v1/import", body); r.status != 200 || !strings.Contains(r.body, `"rejected":0`) {
			t.Fatalf("got %d %s", r.status, r.body)
		}
	}
	// Another writer, with a name that a careless pattern would let through.
	if err := vm.Import(lately("old-1", "a", 7)); err != nil {
		t.Fatal(err)
	}
	if err := vm.ForceFlush(); err != nil {
		t.Fatal(err)
	}
	count := func(token, method, selector string) string {
		t.Helper()
		form := url.Values{
			"query": {"sum(count_over_time(" + selector + "[60000ms]))"}, "time": {fmt.Sprintf("%.3f", float64(time.Now().UnixMilli())/1000)},
			"extra_filters[]": {`{device_id=~".*"}`}, "extra_label": {"device_id=old-1"},
		}
		r := ts.as(t, token, method, "/api/v1/query?"+form.Encode(), "")
		var in struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		if err := json.Unmarshal([]byte(r.body), &in); r.status != 200 || err != nil {
			t.Fatalf("%s: got %d %s", selector, r.status, r.body)
		}
		if len(in.Data.Result) == 0 {
			return "0"
		}
		return fmt.Sprint(in.Data.Result[0].Value[1])
	}
	f := func(token, selector string, want int) {
		t.Helper()
		r := ts.as(t, token, "GET", "/api/v1/export?"+match(selector).Encode()+"&extra_filters[]=%7Bdevice_id%3D%22old-1%22%7D", "")
		got := 0
		for line := range strings.Lines(r.body) {
			var in struct{ Timestamps []int64 }
			if err := json.Unmarshal([]byte(line), &in); err != nil {
				t.Fatal(err)
			}
			got += len(in.Timestamps)
		}
		if r.status != 200 || got != want {
			t.Errorf("%s: export of %s: got %d with %d samples, want %d: %s", token, selector, r.status, got, want, r.body)
		}
		for _, method := range []string{"GET", "POST"} {
			if got := count(token, method, selector); got != fmt.Sprint(want) {
				t.Errorf("%s: count of %s: got %s, want %d", token, selector, got, want)
			}
		}
	}
	f("td", everything, 5)
	f("td", `a`, 3)
	f("td", `{device_id=~"d|e"}`, 5)
	f("td", `{device_id=~"e"}`, 0)
	f("td", "{device_id!=`x`}", 5)
	f("te", `{__name__=~"a|b"}`, 4)
	f("te", `{device_id='e'}`, 4)
	f("tboth", everything, 10)
	f("tboth", `{device_id="old.1"}`, 5)
	f("tboth", `{device_id=~"old-1"}`, 0)
	// To say that there is nothing would have shipperd send again what is there.
	for path, form := range map[string]url.Values{
		"/api/v1/export": match(`{device_id="old-1"}`),
		"/api/v1/query":  {"query": {`sum(count_over_time({device_id="old-1"}[60000ms]))`}},
	} {
		wantFault(t, ts.as(t, "tboth", "GET", path+"?"+form.Encode(), ""), 403, "is not the token's")
	}
	r := ts.as(t, "td", "GET", "/api/v1/query?"+url.Values{"query": {
		`sum by (__name__) (count_over_time({device_id=~".+"}[60000ms]) keep_metric_names)`,
	}}.Encode(), "")
	if !strings.Contains(r.body, `"__name__":"b"`) || strings.Contains(r.body, `"4"`) {
		t.Errorf("counts by name: got %d %s", r.status, r.body)
	}
	for _, query := range []string{"", "a", `sum(a)`, `count_over_time({device_id="d"}[1m])`} {
		wantFault(t, ts.as(t, "td", "GET", "/api/v1/query?"+url.Values{"query": {query}}.Encode(), ""), 400, "only shipperd's own questions")
	}
	wantFault(t, ts.as(t, "", "GET", "/api/v1/query?query=a", ""), 401, "no token")
}

// Lines are refused one by one, and the rest goes on; a repeat of the chunk does not reach the server.
func TestUpstream_Chunks(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	ts := before(t, vm.ImportURL())
	body := lately("d", "a", 3) + "rubbish\n" + lately("e", "a", 2) + `{"metric":{"__name__":"n","device_id":"d"},"values":[1,null],"timestamps":[` +
		fmt.Sprint(time.Now().UnixMilli()) + `,1700000000000]}` + "\n"
	first := ts.postChunk(t, "td", "b/0", body)
	if first.status != 200 || !strings.HasPrefix(first.body, `{"accepted":4,"rejected":4,`) {
		t.Fatalf("got %d %s", first.status, first.body)
	}
	if again := ts.postChunk(t, "td", "b/0", body); again.body != first.body {
		t.Errorf("again: got %d %s", again.status, again.body)
	}
	if got := len(vm.Imports()); got != 1 || len(vm.Samples()) != 4 || vm.Duplicates() != 0 {
		t.Errorf("%d imports, %d samples, %d of them double", got, len(vm.Samples()), vm.Duplicates())
	}
	// What goes wrong beyond is told as it is, and is not remembered.
	for _, c := range []struct {
		step   testkit.Step
		status int
		text   string
	}{
		{testkit.Answer(500, testkit.KeepNone), 502, "a part may be stored"},
		{testkit.RetryAfter(429, "7"), 429, "nothing was stored"},
		{testkit.Answer(400, testkit.KeepNone), 400, "a part may be stored"},
		{testkit.Answer(401, testkit.KeepNone), 502, "its address or its credentials are wrong; nothing was stored"},
		{testkit.ResetAfter(testkit.WholeBody, testkit.KeepNone), 502, "a part may be stored"},
	} {
		vm.Then(c.step)
		r := ts.postChunk(t, "td", "b/1", lately("d", "b", 1))
		wantFault(t, r, c.status, c.text)
		if c.status == 429 && r.header.Get("Retry-After") != "7" {
			t.Errorf("got Retry-After %q", r.header.Get("Retry-After"))
		}
		if strings.Contains(r.body, vm.Addr()) || strings.Contains(r.body, http.StatusText(c.step.Status)) && c.step.Status != 0 {
			t.Errorf("the sender is told what the upstream said: %s", r.body)
		}
	}
	for _, want := range []string{"the upstream refuses samples", "Bad Request", "device=d", "samples cannot be kept", "Internal Server Error"} {
		if !strings.Contains(ts.log.String(), want) {
			t.Errorf("the log has not %q:\n%s", want, ts.log.String())
		}
	}
	if r := ts.as(t, "", "GET", "/health/ready", ""); r.status != 503 || !strings.Contains(r.body, "samples cannot be kept since") {
		t.Errorf("ready: got %d %s", r.status, r.body)
	}
	if r := ts.postChunk(t, "td", "b/1", lately("d", "b", 1)); r.body != took1 {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := ts.as(t, "", "GET", "/health/ready", ""); r.status != 200 || r.body != `{"status":"ok","reasons":[]}`+"\n" {
		t.Errorf("ready: got %d %s", r.status, r.body)
	}
	vm.GoAway()
	// A connection that was kept open may break only now, and then nobody knows.
	var r reply
	testkit.Eventually(t, 5*time.Second, "something else than a broken connection", func() bool {
		r = ts.postChunk(t, "td", "b/2", lately("d", "b", 1))
		return r.status != 502
	})
	if wantFault(t, r, 503, "cannot be reached; nothing was stored"); r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	wantFault(t, ts.as(t, "td", "GET", "/api/v1/export?"+match("a").Encode(), ""), 503, "cannot be reached")
	wantFault(t, ts.as(t, "td", "GET", "/api/v1/query?query="+url.QueryEscape(`sum(count_over_time(a[1ms]))`), ""), 503, "cannot be reached")
}

// What a device may add to a question does not reach the server: reduce_mem_usage=1 would make VictoriaMetrics up to
// 1.150 mix up series, those of other devices' answers too.
func TestUpstream_Parameters(t *testing.T) {
	t.Parallel()
	asked := make(chan url.Values, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // what cannot be read is missing below
		asked <- r.Form
	}))
	t.Cleanup(server.Close)
	ts := before(t, server.URL+"/api/v1/import")
	const more = "&reduce_mem_usage=1&extra_label=a%3Db&extra_filters[]=%7B%7D&format=x&timeout=1h&trace=1&max_rows_per_line=7"
	for _, method := range []string{"GET", "POST"} {
		ts.as(t, "td", method, "/api/v1/export?"+match("a").Encode()+more, "")
		got := <-asked
		want := url.Values{
			"match[]": {`a{device_id="d"}`}, "extra_filters[]": {`{device_id=~"d"}`}, "start": {"0.000"}, "end": {"253402300799.999"},
			"max_rows_per_line": {"7"},
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: the server was asked %v, want %v", method, got, want)
		}
	}
}

// An export that breaks off behind the gateway breaks off in front of it.
func TestUpstream_CutExport(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	ts := before(t, vm.ImportURL())
	ts.as(t, "td", "POST", "/api/v1/import", lately("d", "a", 100))
	vm.ThenRead(testkit.Step{Reply: testkit.CutReply})
	conn := ts.dial(t, "GET /api/v1/export?match[]=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer td\r\n\r\n")
	text := readAll(conn)
	if strings.HasSuffix(text, "\r\n0\r\n\r\n") || strings.Contains(text, "200 OK") && strings.Contains(text, "Content-Length") {
		t.Errorf("it passes for the whole:\n%s", text)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	ts.postChunk(t, "", "b/0", sample("a", 1, 0)+"rubbish\n")
	ts.postChunk(t, "", "b/0", sample("a", 1, 0)+"rubbish\n")
	ts.post(t, "")
	r := ts.do(t, "GET", "/metrics", nil, nil)
	for _, want := range []string{
		`receiver_requests_total{path="/api/v1/import",status="200"} 2`, `receiver_requests_total{path="/api/v1/import",status="400"} 1`,
		"receiver_samples_accepted_total 1", "receiver_samples_rejected_total 1", "receiver_chunks_replayed_total 1", "receiver_sink_failing 0",
		"receiver_held_bytes 0", "receiver_import_duration_seconds_count 2", "receiver_unauthorized_total 0", "receiver_limited_total 0",
		"receiver_lines_foreign_total 0", "receiver_body_bytes_total ",
	} {
		if !strings.Contains(r.body, want) {
			t.Errorf("no %q in\n%s", want, r.body)
		}
	}
	for _, m := range Metrics {
		if name := strings.ReplaceAll(m.Name, ".", "_"); !strings.Contains(r.body, "# HELP "+name+" ") {
			t.Errorf("%s is not shown", name)
		}
	}
}
