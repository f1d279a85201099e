package front

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// behind is the server: it notes what comes, answers imports with 204 and reads with
// two lines.
type behind struct {
	mu   sync.Mutex
	seen []string // path, arguments and plain body
}

const twoLines = "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1]}\n{\"metric\":{\"__name__\":\"b\"},\"values\":[2],\"timestamps\":[2]}\n"

func (b *behind) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	all, err := lines(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.seen = append(b.seen, r.URL.String()+" "+string(bytes.Join(all, nil)))
	b.mu.Unlock()
	if KindOf(r) == Import {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_, _ = io.WriteString(w, twoLines)
}

func (b *behind) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen)
}

func start(t *testing.T) (*Front, *behind) {
	t.Helper()
	b := &behind{}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return Start(t, server.URL), b
}

// token is what every request has.
const token = "abcdefghijklmnop"

// client keeps connections.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// ask sends a request and returns status, body and error.
func ask(t *testing.T, method, address, body string) (*http.Response, string, error) {
	t.Helper()
	var zipped bytes.Buffer
	if body != "" {
		w := gzip.NewWriter(&zipped)
		_, _ = io.WriteString(w, body) // a buffer takes all
		w.Close()
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, &zipped)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Encoding", "gzip")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}

func (f *Front) path(p string) string { return f.URL() + p }

const (
	importPath = "/insert/0/prometheus/api/v1/import"
	exportPath = "/api/v1/export?match[]=x"
	queryPath  = "/api/v1/query?query=x"
)

func jsonLine(name string) string {
	return fmt.Sprintf("{\"metric\":{\"__name__\":%q,\"device_id\":\"d\"},\"values\":[1],\"timestamps\":[1000]}\n", name)
}

// TestModes sends one import, one export, one query and one question for the time in
// each mode, and compares the answers, and what the server saw of them.
func TestModes(t *testing.T) {
	t.Parallel()
	login := Answer{Status: 200, Body: LoginPage, Type: "text/html"}
	away := Answer{Status: 302, Location: "http://portal.example/"}
	tests := []struct {
		name    string
		mode    Mode
		answers [4]string // status and the beginning of the body
		seen    int       // by the server
	}{
		{"pass", Pass(), [4]string{"204", "200 {", "200 {", "200 {"}, 4},
		{"portal", Portal(Answer{Status: 200}, away), [4]string{"200", "302", "302", "302"}, 0},
		{"portal with a page", Portal(login, login), [4]string{"200 <!DOC", "200 <!DOC", "200 <!DOC", "200 <!DOC"}, 0},
		{"refused reads", Refuse(Answer{Status: 400, Body: "missing route"}, Export, Query), [4]string{"204", "400 missing", "400 missing", "200 {"}, 2},
		{"refused", Refuse(Answer{Status: 429}), [4]string{"429", "429", "429", "429"}, 0},
		{"HTTP/1.0", HTTP10(), [4]string{"204", "200 {", "200 {", "200 {"}, 4},
		{"cut exports", Chain(HTTP10(), CutExports()), [4]string{"204", "200 {", "200 {", "200 {"}, 4},
		{"long details", LongDetails(5), [4]string{`200 {"accepted":0,"rejected":1,"lines":[{"line":99999,`, "200 {", "200 {", "200 {"}, 4},
		{"flood", FloodExports(3), [4]string{"204", `200 {"metric":{"__name__":"of_others"`, "200 {", "200 {"}, 3},
		{"leak", Leak(500, Import, Query), [4]string{`500 {"status":"`, "200 {", `500 {"status":"`, "200 {"}, 2},
		{"repeat", Repeat(), [4]string{"204", "200 {", "200 {", "200 {"}, 5},
		{"rename", Rename("device_id", "x"), [4]string{"204", "200 {", "200 {", "200 {"}, 4},
		{"read elsewhere", ReadElsewhere(), [4]string{"204", "200 {", "200 {", "200 {"}, 4},
		{"drop", Drop("m", new(atomic.Int64)), [4]string{"204", "200 {", "200 {", "200 {"}, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, server := start(t)
			tally := f.Set(test.mode)
			for i, r := range [4][3]string{{"POST", importPath, jsonLine("m") + jsonLine("n")}, {"GET", exportPath}, {"GET", queryPath}, {"GET", "/health"}} {
				res, body, err := ask(t, r[0], f.path(r[1]), r[2])
				if err != nil {
					t.Fatalf("%v: %v", r, err)
				}
				if got := strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", body)); !strings.HasPrefix(got, test.answers[i]) {
					t.Errorf("%v: got %.80q, want %q", r[1], got, test.answers[i])
				}
			}
			if seen := server.all(); len(seen) != test.seen {
				t.Errorf("the server saw %q, want %d requests", seen, test.seen)
			}
			if tally.Count() != 4 || tally.Count(Import) != 1 || tally.Count(Export, Query) != 2 || tally.Count(Other) != 1 {
				t.Errorf("counted %+v", tally.seen)
			}
		})
	}
}

// TestModes_WhatTheServerSees looks at what becomes of an import.
func TestModes_WhatTheServerSees(t *testing.T) {
	t.Parallel()
	f, server := start(t)
	check := func(mode Mode, method, path, body string, want ...string) {
		t.Helper()
		f.Set(mode)
		before := len(server.all())
		if _, _, err := ask(t, method, f.path(path), body); err != nil {
			t.Fatal(err)
		}
		if got := server.all()[before:]; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var dropped atomic.Int64
	check(Drop("m", &dropped), "POST", importPath, jsonLine("m")+jsonLine("n"), importPath+" "+jsonLine("n"))
	if n := dropped.Load(); n != 1 {
		t.Errorf("%d samples counted as dropped, want 1", n)
	}
	check(Repeat(), "POST", importPath, jsonLine("m"), importPath+" "+jsonLine("m"), importPath+" "+jsonLine("m"))
	check(Rename("device_id", "x"), "POST", importPath, jsonLine("m"), importPath+"?extra_label=device_id%3Dx "+jsonLine("m"))
	check(ReadElsewhere(), "GET", queryPath, "", "/api/v1/query?extra_filters%5B%5D=%7B__name__%3D%22of_another_tenant%22%7D&query=x ")
}

// TestPortal_Date: a portal has a clock of its own.
func TestPortal_Date(t *testing.T) {
	t.Parallel()
	f, _ := start(t)
	f.Set(Portal(Answer{Status: 200, Behind: 100 * 24 * time.Hour}, Answer{Status: 302, Location: "http://portal.example/", RetryAfter: "7"}))
	res, _, err := ask(t, "POST", f.ImportURL(), jsonLine("m"))
	if err != nil {
		t.Fatal(err)
	}
	date, err := http.ParseTime(res.Header.Get("Date"))
	if behind := time.Since(date); err != nil || behind < 2399*time.Hour || behind > 2401*time.Hour {
		t.Errorf("Date %v, %v", date, err)
	}
	if res, _, err = ask(t, "GET", f.path(exportPath), ""); err != nil {
		t.Fatal(err)
	}
	if h := res.Header; h.Get("Location") != "http://portal.example/" || h.Get("Retry-After") != "7" || h.Get("Content-Type") != "" {
		t.Errorf("%v", h)
	}
}

func TestLose(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mode Mode
		seen int
	}{"replies": {LoseReplies(1), 2}, "requests": {LoseRequests(1), 1}} {
		f, server := start(t)
		f.Set(test.mode)
		if _, _, err := ask(t, "POST", f.ImportURL(), jsonLine("m")); err == nil {
			t.Errorf("%s: the first import was answered", name)
		}
		if _, _, err := ask(t, "POST", f.ImportURL(), jsonLine("n")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(server.all()); n != test.seen {
			t.Errorf("%s: %d imports at the server, want %d", name, n, test.seen)
		}
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	names := func(seen []string) (names string) {
		for _, text := range seen {
			_, rest, _ := strings.Cut(text, `"__name__":"`)
			name, _, _ := strings.Cut(rest, `"`)
			names += name
		}
		return names
	}
	const want = "abcdefghijklmnop"
	f := func(overtake time.Duration, delay time.Duration, until time.Duration) (order string) {
		front, server := start(t)
		q := NewQueue(t)
		q.Delay, q.Overtake = delay, overtake
		if until > 0 {
			q.Until = time.Now().Add(until)
		}
		begin := time.Now()
		front.Set(q.Mode())
		for _, name := range want {
			res, _, err := ask(t, "POST", front.ImportURL(), jsonLine(string(name)))
			if err != nil || res.StatusCode != http.StatusNoContent {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took < max(delay, until) && (q.Waiting() != len(want) || len(server.all()) > 0) {
			t.Errorf("after %v: %d wait, %d are there", took, q.Waiting(), len(server.all()))
		}
		front.Set(Pass())
		testkit.Eventually(t, 20*time.Second, "the delivery", func() bool { return q.Waiting() == 0 })
		if took := time.Since(begin); took < max(delay, until) {
			t.Errorf("delivered after %v", took)
		}
		return names(server.all())
	}
	for _, until := range []time.Duration{0, 700 * time.Millisecond} {
		if got := f(0, 500*time.Millisecond, until); got != want {
			t.Errorf("in order: got %q", got)
		}
	}
	got := f(200*time.Millisecond, 500*time.Millisecond, 0)
	if sorted := slices.Sorted(strings.SplitSeq(got, "")); got == want || strings.Join(sorted, "") != want {
		t.Errorf("overtaking: got %q", got)
	}
}

// TestQueue_TriesAgain: a server that is away gets it later.
func TestQueue_TriesAgain(t *testing.T) {
	t.Parallel()
	f, server := start(t)
	q := NewQueue(t)
	var tries Tally
	f.Set(Chain(q.Mode(), func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tries.note(KindOf(r)); tries.Count() == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			server.ServeHTTP(w, r)
		})
	}))
	if _, _, err := ask(t, "POST", f.ImportURL(), jsonLine("m")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "the delivery", func() bool { return q.Waiting() == 0 })
	if n := len(server.all()); n != 1 {
		t.Errorf("%d at the server, want 1", n)
	}
}

// TestHalf freezes one half of the series before a real server.
func TestHalf(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	f := Start(t, vm.URL())
	through := testkit.Client{BaseURL: f.URL()}
	h := NewHalf(t)
	h.Until, h.Late = time.Now().Add(3*time.Second), time.Second
	f.Set(h.Mode())
	const series = 40
	ms := time.Now().Add(-time.Minute).UnixMilli()
	var body strings.Builder
	for i := range series {
		fmt.Fprintf(&body, "{\"metric\":{\"__name__\":\"m\",\"device_id\":\"d\",\"n\":\"%d\"},\"values\":[1],\"timestamps\":[%d]}\n", i, ms)
	}
	if err := through.Import(body.String()); err != nil {
		t.Fatal(err)
	}
	there := func() int {
		t.Helper()
		if err := vm.ForceFlush(); err != nil {
			t.Fatal(err)
		}
		found, err := vm.Export(`{device_id="d"}`)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := there(); n == 0 || n == series {
		t.Errorf("%d of %d series are there, want a part", n, series)
	}
	if time.Now().After(h.Until) {
		t.Fatal("too slow for this test")
	}
	if _, err := through.Export(`{device_id="d"}`); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("an export of a frozen store: %v", err)
	}
	_, text, err := ask(t, "GET", f.path("/api/v1/query?query=1"), "")
	if err != nil || !strings.HasPrefix(text, `{"status":"success","isPartial":true`) || strings.Contains(text, "false") {
		t.Errorf("a query of a frozen store: %s, %v", text, err)
	}
	testkit.Eventually(t, 20*time.Second, "the late half", func() bool { return h.Waiting() == 0 })
	if n := there(); n != series {
		t.Errorf("%d of %d series are there", n, series)
	}
	if _, text, err = ask(t, "GET", f.path("/api/v1/query?query=1"), ""); err != nil || strings.Contains(text, `"isPartial":true`) {
		t.Errorf("a query afterwards: %s, %v", text, err)
	}
}

// TestMismatch: a real server heeds what Rename and ReadElsewhere say.
func TestMismatch(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	f := Start(t, vm.URL())
	through := testkit.Client{BaseURL: f.URL()}
	count := func(c testkit.Client, match string) int {
		t.Helper()
		if err := vm.ForceFlush(); err != nil {
			t.Fatal(err)
		}
		found, err := c.Export(match)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	body := fmt.Sprintf("{\"metric\":{\"__name__\":\"m\",\"device_id\":\"d\"},\"values\":[1],\"timestamps\":[%d]}\n", time.Now().UnixMilli())
	f.Set(Rename("device_id", "other"))
	if err := through.Import(body); err != nil {
		t.Fatal(err)
	}
	if d, other := count(vm.Client, `{device_id="d"}`), count(vm.Client, `{device_id="other"}`); d != 0 || other != 1 {
		t.Errorf("renamed: %d under the right name, %d under the other", d, other)
	}
	f.Set(ReadElsewhere())
	if err := through.Import(body); err != nil {
		t.Fatal(err)
	}
	if blind, seen := count(through, `{device_id="d"}`), count(vm.Client, `{device_id="d"}`); blind != 0 || seen != 1 {
		t.Errorf("read elsewhere: %d seen through the front, %d at the server", blind, seen)
	}
}

// TestCloseIdle: an idle connection ends without a word, one in use does not.
func TestCloseIdle(t *testing.T) {
	t.Parallel()
	f, _ := start(t)
	reused := func() (reused bool) {
		t.Helper()
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		req, err := http.NewRequestWithContext(ctx, "GET", f.path("/health"), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return reused
	}
	// It is put back a moment after the body has ended.
	testkit.Eventually(t, testkit.WaitLimit, "a connection to be kept", reused)
	f.CloseIdle(100 * time.Millisecond)
	reused()
	testkit.Eventually(t, 20*time.Second, "the connection to be closed", func() bool {
		time.Sleep(300 * time.Millisecond)
		return !reused()
	})
}

// raw sends one request over a connection of its own.
func raw(t *testing.T, f *Front, method, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer the-token\r\nContent-Length: 0\r\n\r\n", method, path)
	return c
}

func TestHTTP10_OnTheWire(t *testing.T) {
	t.Parallel()
	f, _ := start(t)
	f.Set(HTTP10())
	text, err := io.ReadAll(raw(t, f, "GET", exportPath))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(text), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.0 200 OK\r\n") || strings.Contains(head, "Length") || body != twoLines {
		t.Errorf("%q", text)
	}
	f.Set(Chain(HTTP10(), CutExports()))
	if text, err = io.ReadAll(raw(t, f, "GET", exportPath)); err != nil || !strings.HasSuffix(string(text), "\r\n\r\n"+twoLines[:len(twoLines)/2]) {
		t.Errorf("cut: %q, %v", text, err)
	}
}

func TestSwitchProtocols(t *testing.T) {
	t.Parallel()
	f, _ := start(t)
	f.Set(SwitchProtocols(Export))
	in := bufio.NewReader(raw(t, f, "GET", exportPath))
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	c := raw(t, f, "GET", exportPath)
	in = bufio.NewReader(c)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := in.Read(make([]byte, 1)); n != 0 || errors.Is(err, io.EOF) {
		t.Errorf("the connection ends after 101: %v", err)
	}
	if res, _, err := ask(t, "GET", f.path(queryPath), ""); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a query: %v, %v", res, err)
	}
}

func TestSecondAnswer(t *testing.T) {
	t.Parallel()
	f, _ := start(t)
	f.Set(SecondAnswer())
	for _, path := range []string{exportPath, "/api/v1/import"} {
		in := bufio.NewReader(raw(t, f, map[bool]string{true: "POST", false: "GET"}[path == "/api/v1/import"], path))
		for i, want := range []string{"", "Bearer the-token"} {
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%s, answer %d: %v", path, i, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if got := res.Header.Get("X-You-Said"); got != want || res.Header.Get("Date") == "" && i == 0 {
				t.Errorf("%s, answer %d: %v", path, i, res.Header)
			}
		}
	}
}

// TestLeak: whoever cuts the text, wherever, has most of a token at its end in one
// answer of three.
func TestLeak(t *testing.T) {
	t.Parallel()
	f, _ := start(t)
	f.Set(Leak(500))
	var texts []string
	for range 3 {
		_, text, err := ask(t, "GET", f.path(exportPath), "")
		if err != nil || len(text) < 90_000 || !strings.HasSuffix(text, ` abcdefgh"}`) {
			t.Errorf("%d bytes, the last %q, %v", len(text), text[max(0, len(text)-30):], err)
		}
		texts = append(texts, text)
	}
	for cut := 40; cut < 1000; cut++ {
		if !slices.ContainsFunc(texts, func(text string) bool {
			last := text[strings.LastIndexAny(text[:cut], ` -"`)+1 : cut]
			return len(last) >= len(token)/2 && strings.HasPrefix(token, last)
		}) {
			t.Fatalf("cut at %d: no half of a token at the end of any", cut)
		}
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	tally := newTally()
	for _, second := range []float64{0, 0.1, 0.9, 1.05, 5} {
		tally.seen = append(tally.seen, request{time.Duration(second * float64(time.Second)), Query})
	}
	tally.seen = append(tally.seen, request{6 * time.Second, Import})
	tally.ended = tally.start.Add(10 * time.Second)
	if n := tally.Busiest(Query); n != 3 {
		t.Errorf("busiest second %d, want 3", n)
	}
	if n := tally.Busiest(); n != 3 {
		t.Errorf("busiest second of all %d, want 3", n)
	}
	if r := tally.PerSecond(Query); r != 0.5 {
		t.Errorf("%v a second, want 0.5", r)
	}
	if a, b := tally.Between(0, time.Second, Query), tally.Between(time.Second, time.Minute); a != 3 || b != 3 {
		t.Errorf("%d before a second, %d after it", a, b)
	}
	f, _ := start(t)
	first := f.Set(Pass())
	f.Set(Pass())
	if a := first.Lasted(); a != first.Lasted() {
		t.Error("a tally goes on after its mode has ended")
	}
}
