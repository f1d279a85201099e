package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
	"belabox-metrics/shared/testkit"
)

// sinkFunc and sourceFunc stand in for a store.
type sinkFunc func(ctx context.Context, lines []line.Line) error

func (f sinkFunc) WriteChunk(ctx context.Context, lines []line.Line, _ *store.Receipt) error {
	return f(ctx, lines)
}

func (f sinkFunc) Receipt(context.Context, string, string) (store.Receipt, bool, error) {
	return store.Receipt{}, false, nil
}

type sourceFunc func(ctx context.Context, q store.Query, yield func(*store.Piece) error) error

func (f sourceFunc) Select(ctx context.Context, q store.Query, yield func(*store.Piece) error) error {
	return f(ctx, q, yield)
}

// testServer is a gateway on a loopback port.
type testServer struct {
	*httptest.Server
	log *testkit.Buffer
}

// start starts a gateway with a store of its own, unless change puts something else there. change may also shorten the
// time limits.
func start(t testing.TB, change func(*Config, *http.Server)) *testServer {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "receiver.db"))
	if err != nil {
		t.Fatal(err)
	}
	log := new(testkit.Buffer)
	cfg := Config{Sink: s, Source: s, Log: slog.New(slog.NewTextHandler(log, nil))}
	if change == nil {
		change = func(*Config, *http.Server) {}
	}
	change(&cfg, new(http.Server))
	ts := httptest.NewUnstartedServer(nil)
	handler, _ := New(cfg)
	ts.Config = Server(handler, cfg.Log)
	change(&cfg, ts.Config)
	ts.Start()
	t.Cleanup(func() {
		ts.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testServer{ts, log}
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

const everything = `{__name__!=""}`

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

// sample is an import line with one sample at 1700000000000 + ms.
func sample(name string, value float64, ms int) string {
	return fmt.Sprintf(`{"metric":{"__name__":%q,"device_id":"d"},"values":[%v],"timestamps":[%d]}`+"\n",
		name, value, 1700000000000+int64(ms))
}

func wantFault(t testing.TB, r reply, status int, text string) {
	t.Helper()
	var body struct{ Error string }
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %q (%s), want a JSON object", r.status, r.body, r.header.Get("Content-Type"))
	}
	if r.status != status || !strings.Contains(body.Error, text) {
		t.Errorf("got %d %q, want %d %q", r.status, body.Error, status, text)
	}
	if len(r.body) > 400 {
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
	f("GET", "/health/live", 200, "OK")
	f("HEAD", "/health", 200, "")
	f("GET", "/", 200, "belabox-metrics receiver")
	f("GET", "/nothing", 404, `{"error":`)
	f("GET", "/health/x", 404, `{"error":`)
	if r := ts.do(t, "GET", "/health", nil, nil); r.body != "OK" {
		t.Errorf("got %q, want OK", r.body)
	}
	for path, allow := range map[string]string{
		"/api/v1/import": "POST", "/api/v1/export": "GET, POST", "/health": "GET, HEAD", "/": "GET, HEAD",
	} {
		r := ts.do(t, "DELETE", path, nil, nil)
		wantFault(t, r, http.StatusMethodNotAllowed, "use "+allow)
		if got := r.header.Get("Allow"); got != allow {
			t.Errorf("DELETE %s: got Allow %q, want %q", path, got, allow)
		}
	}
	f("GET", "/api/v1/import", 405, "use POST")
	f("HEAD", "/api/v1/export", 405, "")
	f("PO", "/api/v1/import", 405, "use POST")
}

// A panic ends its own request and is logged with its stack.
func TestPanic(t *testing.T) {
	t.Parallel()
	boom := true
	ts := start(t, func(c *Config, _ *http.Server) {
		next := c.Sink
		c.Sink = sinkFunc(func(ctx context.Context, lines []line.Line) error {
			if boom {
				boom = false
				panic("boom")
			}
			return next.WriteChunk(ctx, lines, nil)
		})
	})
	_, err := ts.Client().Post(ts.URL+"/api/v1/import", "", strings.NewReader(sample("a", 1, 0)))
	if !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a cut connection", err)
	}
	if r := ts.post(t, sample("a", 1, 0)); r.status != http.StatusOK {
		t.Errorf("the next request: got %d %s", r.status, r.body)
	}
	if log := ts.log.String(); strings.Count(log, "request panicked") != 1 || !strings.Contains(log, "boom") ||
		!strings.Contains(log, "gateway_test.go") {
		t.Errorf("got log %s", log)
	}
}
