package victoria

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"testing"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	f := func(name, flags, metrics string, want map[string]string) {
		t.Helper()
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			text := map[string]string{"/flags": flags, "/metrics": metrics}[r.URL.Path]
			if text == "" {
				w.WriteHeader(http.StatusNotFound)
			}
			io.WriteString(w, text)
		})
		got, err := c.Flags(t.Context(), "retentionPeriod", "dedup.minScrapeInterval")
		if !maps.Equal(got, want) || (err != nil) != (metrics == "" && len(want) == 0) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
	f("both set", "-dedup.minScrapeInterval=\"1ms\"\n-retentionPeriod=\"1d\"\n", "", map[string]string{"retentionPeriod": "1d", "dedup.minScrapeInterval": "1ms"})
	f("one set", "-httpAuth.password=\"secret\"\n-retentionPeriod=\"1d\"\n",
		"up 1\nflag{name=\"retentionPeriod\", value=\"1d\", is_set=\"true\"} 1\nflag{name=\"dedup.minScrapeInterval\", value=\"0s\", is_set=\"false\"} 1\n",
		map[string]string{"retentionPeriod": "1d", "dedup.minScrapeInterval": "0s"})
	f("one set, no metrics", "-retentionPeriod=\"1d\"\n", "", map[string]string{"retentionPeriod": "1d"})
	f("a proxy that knows no such flags", "-auth.config=\"x\"\n", "flag{name=\"auth.config\", value=\"x\", is_set=\"true\"} 1\n", nil)
	f("a web page", "<html>-retentionPeriod</html>", "<html>", nil)
	f("odd text", "-retentionPeriod=1d\n-retentionPeriod=\"\\q\"\n", "flag{name=\"retentionPeriod\"", nil)
	f("nothing to be had", "", "", nil)
}

func TestBesideExport(t *testing.T) {
	t.Parallel()
	f := func(importURL, verifyURL, want string) {
		t.Helper()
		c := newClient(t, Config{URL: importURL, VerifyURL: verifyURL})
		if got := fmt.Sprint(c.besideExport("/flags")); got != want {
			t.Errorf("%s, %s: got %s, want %s", importURL, verifyURL, got, want)
		}
	}
	f("http://h:8428/api/v1/import", "", "http://h:8428/flags")
	f("https://h/vm/api/v1/import/", "", "https://h/vm/flags")
	f("http://h/insert/1:2/prometheus/api/v1/import", "", "http://h/flags")
	f("http://h/p/insert/0/prometheus/api/v1/import", "", "http://h/p/flags")
	f("http://in/x", "http://out:8481/select/0/prometheus/api/v1/export?k=v", "http://out:8481/flags?k=v")
	f("http://in/x", "", "<nil>")
}
