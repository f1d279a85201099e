package testkit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The tests of this file run against the real server and the fake: what the fake
// claims to be is what the real one is.

func eachServer(t *testing.T, test func(t *testing.T, c Client)) {
	t.Parallel()
	t.Run("real", func(t *testing.T) { t.Parallel(); test(t, StartVM(t, VMConfig{}).Client) })
	t.Run("fake", func(t *testing.T) { t.Parallel(); test(t, StartFakeVM(t, FakeConfig{}).Client) })
}

// post sends a body as it is and returns the status.
func post(t *testing.T, url string, header map[string]string, body []byte) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := directHTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func zip(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// show writes what a server has as lines "series +ms=value +ms=value", the times
// relative to base.
func show(base int64, series []ExportedSeries) string {
	var b strings.Builder
	for _, s := range series {
		b.WriteString(s.Key())
		for i := range s.Values {
			fmt.Fprintf(&b, " %+d=%v", s.Timestamps[i]-base, s.Values[i])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const day = 24 * 3600 * 1000

func TestConformance_Import(t *testing.T) {
	eachServer(t, func(t *testing.T, c Client) {
		base := time.Now().UnixMilli()
		n := 0
		// f imports a body, in which @ is the base and @N the base plus N, and
		// compares status and what is stored of the series labelled c="1", "2" …
		f := func(name, body string, header map[string]string, args string, wantStatus int, want string) {
			t.Helper()
			n++
			id := fmt.Sprintf(`"c":"%d"`, n)
			body = strings.ReplaceAll(body, `"C"`, id)
			body = timesIn(body, base)
			raw := []byte(body)
			if header["Content-Encoding"] == "gzip" {
				raw = zip(body)
			}
			if header["Cut"] != "" {
				raw = raw[:len(raw)-3]
			}
			if got := post(t, c.BaseURL+"/api/v1/import"+args, header, raw); got != wantStatus {
				t.Errorf("%s: status %d, want %d", name, got, wantStatus)
			}
			if err := c.ForceFlush(); err != nil {
				t.Fatal(err)
			}
			series, err := c.Export(fmt.Sprintf(`{c="%d"}`, n))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(show(base, series), fmt.Sprintf(`c="%d"`, n), "C")
			if got != want {
				t.Errorf("%s: stored\n%swant\n%s", name, got, want)
			}
		}
		plain := func(name, body, want string) {
			t.Helper()
			f(name, body, nil, "", 204, want)
		}
		line := func(name, values, timestamps string) string {
			return fmt.Sprintf(`{"metric":{"__name__":%q,"C"},"values":[%s],"timestamps":[%s]}`+"\n", name, values, timestamps)
		}
		plain("one line", line("a", "1,2.5", "@,@10"), "a{C} +0=1 +10=2.5\n")
		plain("no newline at the end", strings.TrimSpace(line("a", "1", "@")), "a{C} +0=1\n")
		plain("carriage returns and empty lines", "\r\n\n"+strings.ReplaceAll(line("a", "1", "@"), "\n", "\r\n")+"\n", "a{C} +0=1\n")
		plain("one series on two lines", line("a", "1", "@10")+line("a", "2", "@"), "a{C} +0=2 +10=1\n")
		plain("the same sample twice", line("a", "1", "@")+line("a", "1", "@"), "a{C} +0=1 +0=1\n")
		plain("a broken line between good ones", line("a", "1", "@")+"{broken\n"+line("b", "1", "@"), "a{C} +0=1\nb{C} +0=1\n")
		plain("a string spoils its line", line("a", `1,"2"`, "@,@1")+line("b", "1", "@"), "b{C} +0=1\n")
		plain("null spoils its line", line("a", "1,null", "@,@1"), "")
		plain("true spoils its line", line("a", "true", "@"), "")
		plain("more timestamps than values", line("a", "1", "@,@1"), "")
		plain("fewer timestamps than values", line("a", "1,2", "@"), "")
		plain("nothing in it", line("a", "", ""), "")
		plain("timestamp with a fraction", line("a", "1", "@.5"), "")
		plain("timestamp as text", line("a", "1", `"@"`), "")
		plain("timestamp in seconds", line("a", "1", strconv.FormatInt(base/1000, 10)), "")
		plain("no name", `{"metric":{"C","x":"y"},"values":[1],"timestamps":[@]}`, `{C,x="y"} +0=1`+"\n")
		plain("no labels at all", `{"metric":{},"values":[1],"timestamps":[@]}`, "")
		plain("a label that is a number is left out", `{"metric":{"__name__":"a","C","x":5},"values":[1],"timestamps":[@]}`, "a{C} +0=1\n")
		plain("an empty label is left out", `{"metric":{"__name__":"a","C","x":""},"values":[1],"timestamps":[@]}`, "a{C} +0=1\n")
		plain("the order of labels is nothing", `{"metric":{"__name__":"a","C","x":"1","b":"2"},"values":[1],"timestamps":[@]}`+"\n"+
			`{"metric":{"b":"2","x":"1","C","__name__":"a"},"values":[1],"timestamps":[@]}`, `a{b="2",C,x="1"} +0=1 +0=1`+"\n")
		plain("unknown keys", `{"more":[],"metric":{"__name__":"a","C"},"values":[1],"timestamps":[@],"x":1}`, "a{C} +0=1\n")
		plain("dots in the name stay", line("a.b", "1", "@"), "a.b{C} +0=1\n")
		plain("digits beyond storage", line("a", "0.30000000000000004", "@"), "a{C} +0=0.3\n")
		plain("29 days ago", line("a", "1", fmt.Sprintf("@%d", int64(-29*day))), fmt.Sprintf("a{C} %d=1\n", int64(-29*day)))
		plain("32 days ago", line("a", "1,2", fmt.Sprintf("@%d,@", int64(-32*day))), "a{C} +0=2\n")
		plain("in 47 h", line("a", "1", "@169200000"), "a{C} +169200000=1\n")
		plain("in 49 h", line("a", "1,2", "@176400000,@"), "a{C} +0=2\n")

		zipped := map[string]string{"Content-Encoding": "gzip"}
		f("gzip", line("a", "1", "@"), zipped, "", 204, "a{C} +0=1\n")
		f("gzip without the header", string(zip("x")), nil, "", 204, "")
		f("another encoding", line("a", "1", "@"), map[string]string{"Content-Encoding": "other"}, "", 204, "a{C} +0=1\n")
		f("a gzip stream without its end", line("a", "1", "@")+line("b", "1", "@"),
			map[string]string{"Content-Encoding": "gzip", "Cut": "3"}, "", 400, "a{C} +0=1\nb{C} +0=1\n")
		f("extra labels", line("a", "1", "@"), nil, "?extra_label=x=y&extra_label=__name__=z", 204, `z{C,x="y"} +0=1`+"\n")

		if got := post(t, c.BaseURL+"/api/v1/import", zipped, []byte("not gzip")); got != 400 {
			t.Errorf("text as gzip: status %d, want 400", got)
		}
		if got := post(t, c.BaseURL+"/insert/0/prometheus/api/v1/import", nil, nil); got != 400 {
			t.Errorf("the cluster's path: status %d, want 400", got)
		}
	})
}

// timesIn replaces @N by base+N.
func timesIn(body string, base int64) string {
	parts := strings.Split(body, "@")
	for i, part := range parts[1:] {
		digits := strings.TrimLeft(part, "-0123456789")
		n, _ := strconv.ParseInt(part[:len(part)-len(digits)], 10, 64) // none: 0
		parts[i+1] = strconv.FormatInt(base+n, 10) + digits
	}
	return strings.Join(parts, "")
}

func TestConformance_Export(t *testing.T) {
	eachServer(t, func(t *testing.T, c Client) {
		// A second's beginning, as start and end are seconds.
		base := time.Now().Add(-time.Minute).Truncate(time.Second).UnixMilli()
		if err := c.Import(timesIn(`{"metric":{"__name__":"a","d":"1","x":"one"},"values":[1,2,3,3],"timestamps":[@,@500,@1000,@1000]}
{"metric":{"__name__":"b","d":"1"},"values":[4],"timestamps":[@500]}
{"metric":{"__name__":"a","d":"2"},"values":[5],"timestamps":[@]}
{"metric":{"__name__":"future","d":"1"},"values":[6],"timestamps":[@86400000]}
`, base)); err != nil {
			t.Fatal(err)
		}
		if err := c.ForceFlush(); err != nil {
			t.Fatal(err)
		}
		ask := func(path string, args url.Values) (status int, body string) {
			t.Helper()
			resp, err := directHTTP.Get(c.BaseURL + path + "?" + args.Encode())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(text)
		}
		seconds := func(ms int64) string {
			return strconv.FormatFloat(float64(base+ms)/1000, 'f', 3, 64)
		}
		f := func(want string, args url.Values) {
			t.Helper()
			status, body := ask("/api/v1/export", args)
			series, err := parseExport([]byte(body))
			if err != nil {
				t.Errorf("%v: %v", args, err)
				return
			}
			if got := show(base, series); status != 200 || got != want {
				t.Errorf("%v: status %d and\n%swant\n%s", args, status, got, want)
			}
		}
		const (
			a1 = `a{d="1",x="one"} +0=1 +500=2 +1000=3 +1000=3` + "\n"
			b1 = `b{d="1"} +500=4` + "\n"
			a2 = `a{d="2"} +0=5` + "\n"
		)
		f(a1+b1, url.Values{"match[]": {`{d="1"}`}})
		f(a1+b1, url.Values{"match[]": {`{d="1"}`}, "reduce_mem_usage": {"1"}})
		f(a2, url.Values{"match[]": {`a{x=""}`}})
		f(a1+a2, url.Values{"match[]": {`a`}})
		f(a1, url.Values{"match[]": {`a{d!="2"}`}})
		f(a1+b1, url.Values{"match[]": {`{d="1",__name__=~"a|b"}`}})
		f(b1, url.Values{"match[]": {`{d="1",__name__!~"a|f.*"}`}})
		f("", url.Values{"match[]": {`{d=~"1.+"}`}})
		f(a2+b1, url.Values{"match[]": {`b`, `{d="2"}`}})
		f("", url.Values{"match[]": {`nothing`}})
		f(`future{d="1"} +86400000=6`+"\n", url.Values{"match[]": {`future`}, "end": {seconds(2 * day)}})
		f(`a{d="1",x="one"} +500=2`+"\n", url.Values{"match[]": {`a{d="1"}`}, "start": {seconds(500)}, "end": {seconds(500)}})
		f(`a{d="1",x="one"} +500=2 +1000=3 +1000=3`+"\n", url.Values{"match[]": {`a{d="1"}`}, "start": {seconds(1)}})
		f(`a{d="1",x="one"} +0=1 +500=2`+"\n", url.Values{"match[]": {`a{d="1"}`}, "end": {seconds(999)}})
		for _, bad := range []url.Values{{}, {"match[]": {"{"}}, {"match[]": {`{a="b"} x`}}, {"match[]": {"a"}, "start": {"x"}}} {
			if status, _ := ask("/api/v1/export", bad); status != 400 {
				t.Errorf("%v: status %d, want 400", bad, status)
			}
		}
		_, csv := ask("/api/v1/export/csv", url.Values{"match[]": {`{d="1"}`}, "format": {"__timestamp__:unix_ms,__name__,x,__value__"}})
		rows := strings.Split(strings.TrimSpace(csv), "\n")
		slices.Sort(rows)
		if got, want := strings.Join(rows, "\n"), timesIn("@,a,one,1\n@500,a,one,2\n@500,b,,4\n@1000,a,one,3\n@1000,a,one,3", base); got != want {
			t.Errorf("csv\n%s\nwant\n%s", got, want)
		}
	})
}

func TestConformance_Query(t *testing.T) {
	eachServer(t, func(t *testing.T, c Client) {
		base := time.Now().Add(-time.Minute).Truncate(time.Second).UnixMilli()
		if err := c.Import(timesIn(`{"metric":{"__name__":"a","d":"1"},"values":[1,2,3,3],"timestamps":[@,@500,@1000,@1000]}
{"metric":{"__name__":"b","d":"1"},"values":[4,5],"timestamps":[@500,@60000]}
{"metric":{"__name__":"a","d":"2"},"values":[5],"timestamps":[@]}
`, base)); err != nil {
			t.Fatal(err)
		}
		if err := c.ForceFlush(); err != nil {
			t.Fatal(err)
		}
		f := func(query string, at int64, want string) {
			t.Helper()
			results, err := c.Query(query, time.UnixMilli(base+at))
			if err != nil {
				t.Errorf("%s at %+d: %v", query, at, err)
				return
			}
			var lines []string
			for _, r := range results {
				lines = append(lines, fmt.Sprintf("%s %v", SeriesKey(r.Metric), r.Value))
			}
			slices.Sort(lines)
			if got := strings.Join(lines, "; "); got != want {
				t.Errorf("%s at %+d: %s, want %s", query, at, got, want)
			}
		}
		f(`sum(count_over_time({d="1"}[60s]))`, 1000, `{} 5`)
		f(`sum(count_over_time({d="1"}[1s]))`, 1000, `{} 4`) // the range's beginning is not in it
		f(`sum(count_over_time({d="1"}[1001ms]))`, 1000, `{} 5`)
		f(`sum(count_over_time({d="1"}[1m]))`, 60000, `{} 5`)
		f(`sum(count_over_time({d="1"}[1ms]))`, 60000, `{} 1`) // not hidden as too young
		f(`sum(count_over_time({d="1"}[500ms]))`, 999, `{} 2`)
		f(`sum(count_over_time({d="3"}[60s]))`, 1000, ``)
		f(`sum(count_over_time({d=~"1|2"}[60s]))`, 1000, `{} 6`)

		fails := func(query string) {
			t.Helper()
			if got, err := c.Query(query, time.UnixMilli(base+1000)); err == nil || !strings.Contains(err.Error(), " 422 ") {
				t.Errorf("%s: %v, %v, want status 422", query, got, err)
			}
		}
		fails(`sum(`)
		fails(`no such thing`)

		// Without nocache a question about the last 30 s is one about an earlier time.
		body, err := c.post("/api/v1/query", url.Values{
			"query": {`sum(count_over_time({d="1"}[10s]))`},
			"time":  {strconv.FormatInt(time.Now().Unix(), 10)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseQuery(body); err != nil || len(got) != 0 {
			t.Errorf("young samples without nocache: %v, %v, want none", got, err)
		}
	})
}
