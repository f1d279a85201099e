package victoria

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/store"
)

// exportAll collects an export as text, a line for each call.
func exportAll(c *Client, sel Selector) (string, error) {
	var b strings.Builder
	err := c.Export(context.Background(), sel, 0, 2000, func(labels []store.Tag, timestamps []int64) error {
		for _, l := range labels {
			fmt.Fprintf(&b, "%s=%s ", l.Name, l.Value)
		}
		fmt.Fprintln(&b, timestamps)
		return nil
	})
	return b.String(), err
}

const twoLines = `{"metric":{"__name__":"n","device_id":"d","a":"1"},"values":[1,2],"timestamps":[1000,1001]}
{"metric":{"device_id":"d","__name__":"n","a":"1"},"values":[null],"timestamps":[1002]}
`

func TestExport_Request(t *testing.T) {
	t.Parallel()
	var forms []url.Values
	var methods []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		forms, methods = append(forms, r.Form), append(methods, r.Method)
		if r.URL.Path != "/api/v1/export" || r.Header.Get("Accept-Encoding") != "gzip" || r.Header.Get("X-Chunk-Id") != "" {
			t.Errorf("request to %s with %v", r.URL.Path, r.Header)
		}
	})
	nothing := func([]store.Tag, []int64) error { return nil }
	if err := c.Export(t.Context(), Selector{DeviceID: "d"}, 1_700_000_000_123, 1_700_000_060_000, nothing); err != nil {
		t.Fatal(err)
	}
	if err := c.Export(t.Context(), Selector{DeviceID: "d"}, 0, 5, nothing); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"match[]": {`{device_id="d"}`}, "start": {"1700000000.123"}, "end": {"1700000060"}, "max_rows_per_line": {"1000"}}
	if fmt.Sprint(forms[0]) != fmt.Sprint(want) || methods[0] != http.MethodGet {
		t.Errorf("got %s %v, want %v", methods[0], forms[0], want)
	}
	want = url.Values{"match[]": {`{device_id="d"}`}, "start": {"0"}, "end": {"0.005"}, "max_rows_per_line": {"1000"}}
	if fmt.Sprint(forms[1]) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", forms[1], want)
	}

	// Many names go as forms, in several requests, each name once.
	forms, methods = nil, nil
	sel := Selector{DeviceID: "d"}
	for i := range 500 {
		sel.Names = append(sel.Names, fmt.Sprintf("network_receive_bytes_total_%d", i))
	}
	if err := c.Export(t.Context(), sel, 0, 1, nothing); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, form := range forms {
		text := strings.TrimSuffix(strings.TrimPrefix(form.Get("match[]"), `{device_id="d",__name__=~"`), `"}`)
		names = append(names, strings.Split(text, "|")...)
		if methods[i] != http.MethodPost {
			t.Errorf("request %d is a %s", i, methods[i])
		}
	}
	if len(forms) < 2 || !slices.Equal(names, sel.Names) {
		t.Errorf("%d requests for %d names", len(forms), len(names))
	}
}

func TestExport_Lines(t *testing.T) {
	t.Parallel()
	const want = "__name__=n a=1 device_id=d [1000 1001]\n__name__=n a=1 device_id=d [1002]\n"
	f := func(name string, h http.HandlerFunc, want string) {
		t.Helper()
		got, err := exportAll(serve(t, h), Selector{DeviceID: "d"})
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	f("with a length", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, twoLines) }, want)
	f("no line end", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.TrimSpace(twoLines)) }, want)
	f("empty lines", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "\n\r\n"+strings.ReplaceAll(twoLines, "\n", "\r\n\r\n"))
	}, want)
	f("chunked", func(w http.ResponseWriter, r *http.Request) {
		for i := range twoLines {
			io.WriteString(w, twoLines[i:i+1])
			w.(http.Flusher).Flush()
		}
	}, want)
	f("gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zipped(t, twoLines))
	}, want)
	f("nothing", func(w http.ResponseWriter, r *http.Request) {}, "")
	f("gzip of nothing", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zipped(t, ""))
	}, "")
	f("empty and said to be gzip", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", "gzip") }, "")
	f("a long line", func(w http.ResponseWriter, r *http.Request) {
		var ts []string
		for i := range 100_000 {
			ts = append(ts, fmt.Sprint(i))
		}
		list := strings.Join(ts, ",")
		fmt.Fprintf(w, "%s{\"metric\":{\"b\":\"2\"},\"values\":[%s],\"timestamps\":[%s]}\n%s", twoLines, list, list, twoLines)
	}, want+"b=2 "+strings.ReplaceAll(fmt.Sprint(numbers(100_000)), ",", " ")+"\n"+want)
}

func numbers(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// TestExport_CutShort: an answer that broke off must never look like a whole
// one.
func TestExport_CutShort(t *testing.T) {
	t.Parallel()
	first := strings.Index(twoLines, "\n") + 1
	small := zipped(t, twoLines)
	answer := func(head, body string) func(c *net.TCPConn) {
		return func(c *net.TCPConn) {
			readUntil(c, "\r\n\r\n")
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"\r\n"+body)
			c.CloseWrite()
			io.Copy(io.Discard, c)
		}
	}
	f := func(name string, class Class, handle func(c *net.TCPConn)) {
		t.Helper()
		c := newClient(t, Config{URL: rawServer(t, handle)})
		got, err := exportAll(c, Selector{DeviceID: "d"})
		if err == nil {
			t.Errorf("%s: got %q and no error", name, got)
			return
		}
		wantError(t, err, class, 200, false)
	}
	f("shorter than its length", ClassNetwork, answer("Content-Length: 1000\r\n", twoLines))
	f("a line missing", ClassNetwork, answer(fmt.Sprintf("Content-Length: %d\r\n", len(twoLines)), twoLines[:first]))
	f("nothing of its length", ClassNetwork, answer("Content-Length: 1\r\n", ""))
	f("no last chunk", ClassNetwork, answer("Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n", first, twoLines[:first])))
	f("no chunk", ClassNetwork, answer("Transfer-Encoding: chunked\r\n", ""))
	f("no length", ClassServer, answer("", twoLines))
	f("no length and nothing", ClassServer, answer("", ""))
	f("half a gzip", ClassNetwork, answer("Content-Encoding: gzip\r\n", string(small[:len(small)/2])))
	f("a gzip without its end", ClassNetwork, answer("Content-Encoding: gzip\r\n", string(small[:len(small)-1])))
	f("two gzip members", ClassNetwork, answer("Content-Encoding: gzip\r\n", string(small)+string(small)))
	f("half a line", ClassServer, answer(fmt.Sprintf("Content-Length: %d\r\n", len(twoLines)-10), twoLines[:len(twoLines)-10]))
	f("text after the lines", ClassServer, answer("Transfer-Encoding: chunked\r\n",
		fmt.Sprintf("%x\r\n%s\r\n10\r\ncannot read more\r\n0\r\n\r\n", len(twoLines), twoLines)))
	f("a web page", ClassStranger, answer("Content-Type: text/html\r\nContent-Length: 0\r\n", ""))
	if got, err := exportAll(newClient(t, Config{URL: rawServer(t, answer("Content-Encoding: gzip\r\n", string(small)))}), Selector{}); err != nil || len(got) == 0 {
		t.Errorf("a whole gzip without a length: %q, %v", got, err)
	}
}

func TestExport_Bounds(t *testing.T) {
	t.Parallel()
	endless := func(text string) *Client {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		})
	}
	_, err := exportAll(endless(strings.Repeat("x", 1<<16)), Selector{})
	wantError(t, err, ClassServer, 200, false)
	_, err = exportAll(endless(strings.Repeat(" ", 1<<20)+"\n"), Selector{})
	wantError(t, err, ClassServer, 200, false)
	if !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
}

func TestExport_CallersError(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, twoLines) })
	enough := errors.New("enough")
	calls := 0
	err := c.Export(t.Context(), Selector{DeviceID: "d"}, 0, 1, func([]store.Tag, []int64) error { calls++; return enough })
	if err != enough || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

// TestRead_Statuses: the same table as for imports, but nothing is ambiguous.
func TestRead_Statuses(t *testing.T) {
	t.Parallel()
	f := func(status int, body string, class Class, notSupported bool) {
		t.Helper()
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			if status != 204 {
				io.WriteString(w, body)
			}
		})
		_, exportErr := exportAll(c, Selector{DeviceID: "d"})
		_, countErr := c.Count(t.Context(), Selector{DeviceID: "d"}, 1, 2)
		for _, err := range []error{exportErr, countErr} {
			wantError(t, err, class, status, false)
			if errors.Is(err, ErrNotSupported) != notSupported {
				t.Errorf("status %d: %v; not supported: want %v", status, err, notSupported)
			}
		}
	}
	f(404, "404 page not found", ClassAuth, true)
	f(405, "", ClassAuth, true)
	f(501, "", ClassServer, true)
	f(400, `unsupported path requested: "/api/v1/query"`, ClassAuth, true)
	f(400, "cannot parse", ClassRejected, false)
	f(401, "", ClassAuth, false)
	f(403, "", ClassAuth, false)
	f(422, "too many series", ClassRejected, false)
	f(429, "", ClassThrottled, false)
	f(503, "", ClassServer, false)
	f(511, "", ClassStranger, false)
	f(302, "", ClassRedirect, false)
	f(204, "", ClassServer, false)
	f(206, "", ClassServer, false)
}

func TestRead_NoAddress(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{URL: "http://127.0.0.1:1/write"})
	_, err := c.Count(t.Context(), Selector{}, 1, 2)
	wantError(t, err, ClassAuth, 0, false)
	if _, err = exportAll(c, Selector{}); !strings.Contains(err.Error(), "set remote.verify.url") {
		t.Error(err)
	}
}

// TestRead_VerifyURL: another host for reading, with a parameter of its own.
func TestRead_VerifyURL(t *testing.T) {
	t.Parallel()
	var requested []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requested = append(requested, r.URL.Path+" "+r.FormValue("tenant")+" "+r.Header.Get("Authorization"))
		io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	t.Cleanup(s.Close)
	c := newClient(t, Config{
		URL: "http://127.0.0.1:1/write", VerifyURL: s.URL + "/read/api/v1/export?tenant=7",
		Token: func() (string, error) { return "tok", nil },
	})
	if n, err := c.Count(t.Context(), Selector{DeviceID: "d"}, 1, 2); n != 0 || err != nil {
		t.Error(n, err)
	}
	exportAll(c, Selector{})
	if want := []string{"/read/api/v1/query 7 Bearer tok", "/read/api/v1/export 7 Bearer tok"}; !slices.Equal(requested, want) {
		t.Errorf("requested %q, want %q", requested, want)
	}
}

func TestCount_Request(t *testing.T) {
	t.Parallel()
	var requested []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requested = append(requested, fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.FormValue("query"), " ", r.FormValue("time"), " ", r.FormValue("nocache")))
		io.WriteString(w, `{"status":"success","isPartial":false,"data":{"resultType":"vector","result":[{"metric":{"__name__":"n"},"value":[1700000000.123,"42"]}]}}`)
	})
	if n, err := c.Count(t.Context(), Selector{DeviceID: "d"}, 1_700_000_000_000, 1_700_000_000_123); n != 42 || err != nil {
		t.Error(n, err)
	}
	want := []string{`GET /api/v1/query sum(count_over_time({device_id="d"}[124ms])) 1700000000.123 1`}
	if !slices.Equal(requested, want) {
		t.Errorf("requested %q, want %q", requested, want)
	}
}

func TestParseCount(t *testing.T) {
	t.Parallel()
	const bad = -1
	f := func(body string, want int64) {
		t.Helper()
		got, err := parseCount([]byte(body))
		if err != nil {
			got = bad
		}
		if got != want {
			t.Errorf("%s: got %d (%v), want %d", body, got, err, want)
		}
	}
	result := func(list string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + list + `]}}`
	}
	f(result(``), 0)
	f(result(`{"metric":{},"value":[1,"6000"]}`), 6000)
	f(result(`{"metric":{"__name__":"a"},"value":[1.5,"1e3"]},{"metric":{"__name__":"b"},"value":[1,"2"]}`), 1002)
	for _, body := range []string{
		``, `{`, `[]`, `{}`, `null`, `<html>`,
		`{"status":"error","data":{"resultType":"vector","result":[]}}`,
		`{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[]}}`,
		`{"status":"success"}`,
		result(`{"metric":{},"value":[1,"NaN"]}`), result(`{"metric":{},"value":[1,"-1"]}`), result(`{"metric":{},"value":[1,"1.5"]}`),
		result(`{"metric":{},"value":[1,"1e300"]}`), result(`{"metric":{},"value":[1,6000]}`), result(`{"metric":{},"value":[1]}`),
		result(`{"metric":{}}`), result(`{"metric":{},"value":[1,"+Inf"]}`),
	} {
		f(body, bad)
	}
}

func FuzzParseCount(f *testing.F) {
	f.Add([]byte(`{"status":"success","isPartial":false,"data":{"resultType":"vector","result":[{"metric":{"__name__":"n"},"value":[1700000000.123,"42"]}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if n, _ := parseCount(body); n < 0 {
			t.Errorf("%q counts %d", body, n)
		}
	})
}

func TestSelector(t *testing.T) {
	t.Parallel()
	f := func(s Selector, want string) {
		t.Helper()
		if got := s.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(Selector{DeviceID: "d"}, `{device_id="d"}`)
	f(Selector{}, `{device_id=""}`)
	f(Selector{DeviceID: "a\"b\\c\nd\xff{}é"}, `{device_id="a\"b\\c\nd\xff{}é"}`)
	f(Selector{DeviceID: "d", Names: []string{"a:b"}}, `{device_id="d",__name__="a:b"}`)
	f(Selector{DeviceID: "d", Names: []string{"a", "b.c"}}, `{device_id="d",__name__=~"a|b\\.c"}`)
	f(Selector{DeviceID: "d", Labels: []store.Tag{{Name: "core", Value: `"`}, {Name: "x", Value: "y"}}}, `{device_id="d",core="\"",x="y"}`)
	f(Selector{AnyDevice: true, Names: []string{"a"}}, `{__name__="a"}`)
	f(Selector{AnyDevice: true, Names: []string{"a", "b"}, Labels: []store.Tag{{Name: "x", Value: "y"}}}, `{__name__=~"a|b",x="y"}`)
	// One name that is too long by itself still goes out.
	long := Selector{Names: []string{strings.Repeat("x", maxNamesBytes+1), "a", strings.Repeat("y", maxNamesBytes+1), "b"}}
	if parts := long.split(); len(parts) != 4 || len(parts[3].Names) != 1 {
		t.Errorf("%d parts", len(parts))
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int64]string{-60_000: "0", -45_878: "0", 0: "0", 1: "0.001", 999: "0.999", 1000: "1", 1_700_000_000_010: "1700000000.010"} {
		if got := seconds(ms); got != want {
			t.Errorf("%d: %s, want %s", ms, got, want)
		}
	}
}
