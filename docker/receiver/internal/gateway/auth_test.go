package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// tokenMap knows tokens without hashing them.
type tokenMap map[string][]string

func (m tokenMap) Devices(token string) []string { return m[token] }

var someTokens = tokenMap{"td": {"d"}, "te": {"e"}, "tboth": {"d", "old.1"}}

func withTokens(c *Config, _ *http.Server) { c.Tokens = someTokens }

// as sends a request with a token; "" is without one.
func (ts *testServer) as(t testing.TB, token, method, path, body string) reply {
	t.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return ts.do(t, method, path, header, strings.NewReader(body))
}

// of is an import line of a device with one sample at 1700000000000 + ms.
func of(device, name string, ms int) string {
	return fmt.Sprintf(`{"metric":{"__name__":%q,"device_id":%q},"values":[1],"timestamps":[%d]}`+"\n", name, device, 1700000000000+int64(ms))
}

const took1 = `{"accepted":1,"rejected":0,"lines":[]}` + "\n"

func TestAuth_Tokens(t *testing.T) {
	t.Parallel()
	ts := start(t, withTokens)
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer nobody", "Basic td", "td", "Bearer td x", "Bearer TD"} {
		for _, path := range []string{"/api/v1/import", "/api/v1/export"} {
			r := ts.do(t, "POST", path, http.Header{"Authorization": {header}}, strings.NewReader(of("d", "a", 0)))
			wantFault(t, r, http.StatusUnauthorized, "no token")
			if r.header.Get("Www-Authenticate") == "" {
				t.Errorf("%q: no WWW-Authenticate", header)
			}
		}
	}
	for _, header := range []string{"Bearer td", "bearer td", "Bearer  td "} {
		r := ts.do(t, "POST", "/api/v1/import", http.Header{"Authorization": {header}}, strings.NewReader(of("d", "a", 0)))
		if r.body != took1 {
			t.Errorf("%q: got %d %s", header, r.status, r.body)
		}
	}
	// What everybody may ask, and what nobody may here.
	for path, status := range map[string]int{"/health": 200, "/health/live": 200, "/health/ready": 200, "/": 200, "/metrics": 404, "/api/v1/query": 404} {
		if r := ts.as(t, "", "GET", path, ""); r.status != status {
			t.Errorf("%s: got %d, want %d", path, r.status, status)
		}
	}
	if log := ts.log.String(); strings.Count(log, "request refused") != 1 || strings.Contains(log, "nobody") {
		t.Errorf("want one line and no token in it:\n%s", log)
	}
}

// A device writes its own samples: lines of others are refused one by one, a body without one of its own as a whole.
func TestAuth_OwnDevice(t *testing.T) {
	t.Parallel()
	ts := start(t, withTokens)
	f := func(token, body string, status int, want ...string) {
		t.Helper()
		r := ts.as(t, token, "POST", "/api/v1/import", body)
		for _, w := range want {
			if r.status != status || !strings.Contains(r.body, w) {
				t.Errorf("got %d %s, want %d %s", r.status, r.body, status, w)
			}
		}
	}
	none := `{"metric":{"__name__":"a"},"values":[1,2],"timestamps":[1700000000000,1700000000001]}` + "\n"
	f("td", of("d", "a", 0)+of("e", "a", 0)+none+of("d", "b", 0), 200, `{"accepted":2,"rejected":3,`,
		`{"line":2,"reason":"device_id \"e\" is not the token's","retry":false}`,
		`{"line":3,"reason":"no label device_id, which the token asks for","retry":false}`)
	f("td", of("e", "a", 0)+of("e", "b", 0), 403, "nothing was stored", `\"e\" is not the token's`)
	f("td", none, 403, "no label device_id")
	f("td", "rubbish\n"+of("e", "a", 0), 403, "nothing was stored")
	f("td", "rubbish\n", 200, `"rejected":1`)
	f("tboth", of("d", "c", 0)+of("old.1", "c", 0), 200, `{"accepted":2,"rejected":0`)
	f("tboth", of("old-1", "c", 0), 403, "is not the token's")
	f("te", of("e", "a", 0), 200, took1)
	// Ways round it: a label that stands twice, one that is written in another way, parameters.
	f("td", strings.Replace(of("d", "x", 0), `"__name__"`, `"device_id":"e","__name__"`, 1), 200, "stands twice")
	f("td", strings.Replace(of("d", "x", 0), `"__name__"`, `"device\u005fid":"e","__name__"`, 1), 200, "stands twice")
	f("td", strings.Replace(of("d", "x", 0), `"device_id"`, `"device\u005fid"`, 1), 200, took1)
	f("td", strings.TrimSuffix(of("d", "x", 0), "}\n")+`,"metric":{"__name__":"x","device_id":"e"}}`, 200, "stands twice")
	for _, params := range []string{"extra_label=device_id=e", "extra_label=a=b", "extra_filters[]={}", "x=1&extra_filters={}"} {
		r := ts.as(t, "td", "POST", "/api/v1/import?"+params, of("d", "y", 0))
		wantFault(t, r, http.StatusForbidden, "parameters that add labels")
	}

	// What got in, by the only one who could have put it there.
	everything := func(token string) string {
		return ts.as(t, token, "GET", "/api/v1/export?"+match(everything).Encode(), "").body
	}
	if got := everything("te"); strings.Count(got, "\n") != 1 || !strings.Contains(got, `{"__name__":"a","device_id":"e"}`) {
		t.Errorf("device e has\n%s", got)
	}
	if got := everything("td"); strings.Count(got, "\n") != 4 || strings.Contains(got, `"device_id":"e"`) {
		t.Errorf("device d has\n%s", got)
	}
}

// A device reads its own samples, whatever it asks for.
func TestAuth_OwnExport(t *testing.T) {
	t.Parallel()
	ts := start(t, withTokens)
	ts.as(t, "td", "POST", "/api/v1/import", of("d", "a", 0))
	ts.as(t, "te", "POST", "/api/v1/import", of("e", "a", 0))
	ts.as(t, "tboth", "POST", "/api/v1/import", of("old.1", "a", 0))
	f := func(token, selector string, want ...string) {
		t.Helper()
		r := ts.as(t, token, "POST", "/api/v1/export?"+match(selector).Encode(), "")
		lines := 0
		for _, device := range want {
			lines++
			if !strings.Contains(r.body, fmt.Sprintf(`"device_id":%q`, device)) {
				t.Errorf("%s asks for %s: got %d %s, want %q", token, selector, r.status, r.body, want)
			}
		}
		if r.status != 200 || strings.Count(r.body, "\n") != lines {
			t.Errorf("%s asks for %s: got %d %s, want %q", token, selector, r.status, r.body, want)
		}
	}
	for _, selector := range []string{`a`, everything, `{device_id!="x"}`, `{device_id=~".+"}`, `a{device_id=~"d|e"}`, `{device_id="d"}`} {
		f("td", selector, "d")
	}
	f("te", `{device_id!="e"}`)
	f("tboth", `a`, "d", "old.1")
	f("tboth", `{device_id="old.1"}`, "old.1")
	// Nothing would be the answer for samples that are not there, which shipperd sends again.
	if r := ts.as(t, "te", "GET", "/api/v1/export?"+match(`{device_id="d"}`).Encode(), ""); r.status != 403 || !strings.Contains(r.body, `device_id \"d\"`) {
		t.Errorf("another device: got %d %s", r.status, r.body)
	}
	r := ts.do(t, "GET", "/api/v1/export?"+url.Values{"match[]": {`{device_id=~"d"}`, `a`}, "extra_filters[]": {`{device_id="d"}`}}.Encode(),
		http.Header{"Authorization": {"Bearer te"}}, nil)
	if r.status != 200 || strings.Count(r.body, "\n") != 1 || strings.Contains(r.body, `"device_id":"d"`) {
		t.Errorf("several selectors: got %d %s", r.status, r.body)
	}
}

// A refusal is heard, also by a sender that is still in the middle of a chunk as large as shipperd's largest: it must not
// take a wrong token for a bad line.
func TestAuth_RefusalIsHeard(t *testing.T) {
	t.Parallel()
	ts := start(t, func(c *Config, _ *http.Server) { c.Tokens, c.Limits = someTokens, Limits{Burst: 1, Rate: 1e-9} })
	body := strings.Repeat("x", 256<<10)
	if r := ts.as(t, "td", "GET", "/api/v1/export?"+match("a").Encode(), ""); r.status != 200 {
		t.Fatalf("got %d", r.status)
	}
	for range 50 {
		if r := ts.as(t, "nobody", "POST", "/api/v1/import", body); r.status != http.StatusUnauthorized {
			t.Fatalf("got %d %s", r.status, r.body)
		}
		if r := ts.as(t, "td", "POST", "/api/v1/import", body); r.status != http.StatusTooManyRequests {
			t.Fatalf("got %d %s", r.status, r.body)
		}
	}
}
