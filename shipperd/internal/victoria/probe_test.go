package victoria

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// probe sends one probe and checks how far it came.
func probe(t *testing.T, c *Client, want Stage, text string) (Probe, error) {
	t.Helper()
	p, err := c.Probe(t.Context())
	if p.Stage != want || (err == nil) != (want == StageDone) || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("got %+v, %v, want stage %s, %q", p, err, want, text)
	}
	return p, err
}

func TestProbe_SendsNothing(t *testing.T) {
	t.Parallel()
	var body []byte
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		in, err := gzip.NewReader(r.Body)
		if err == nil {
			body, err = io.ReadAll(in)
		}
		if err != nil || r.Method != http.MethodPost || r.URL.Path != importPath {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("Date", "Mon, 23 Nov 2026 17:03:35 GMT")
		w.WriteHeader(http.StatusNoContent)
	})
	p, _ := probe(t, c, StageDone, "")
	if len(body) > 0 {
		t.Errorf("the probe sent %q", body)
	}
	if p.Status != http.StatusNoContent || p.RoundTrip <= 0 || p.Host != "" || p.TLS != "" ||
		"http://"+p.Remote+importPath != c.importURL.String() {
		t.Errorf("got %+v", p)
	}
	if want := time.Date(2026, 11, 23, 17, 3, 35, 0, time.UTC); !p.Date.Equal(want) {
		t.Errorf("date: got %v, want %v", p.Date, want)
	}
}

func TestProbe_Stages(t *testing.T) {
	t.Parallel()
	answer := func(status int, header ...string) *Client {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, "sorry")
		})
	}
	for status, class := range map[int]Class{401: ClassAuth, 404: ClassAuth, 503: ClassServer, 307: ClassRedirect, 400: ClassRejected} {
		p, err := probe(t, answer(status), StageAnswer, "")
		wantError(t, err, class, status, status == 503 || status == 400)
		if p.Status != status {
			t.Errorf("status %d: got %+v", status, p)
		}
	}
	if p, _ := probe(t, answer(401, "Age", "7"), StageAnswer, ""); !p.Date.IsZero() {
		t.Errorf("the date of a cached answer was used: %+v", p)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	nobody := newClient(t, Config{URL: "http://" + l.Addr().String() + importPath})
	if p, _ := probe(t, nobody, StageConnect, "connection refused"); p.Remote != "" {
		t.Errorf("got %+v", p)
	}
	// "invalid" never resolves: RFC 6761, section 6.4.
	nowhere := newClient(t, Config{URL: "http://metrics.invalid:8428" + importPath})
	if p, _ := probe(t, nowhere, StageName, "metrics.invalid"); p.Host != "metrics.invalid" {
		t.Errorf("got %+v", p)
	}
	noToken := newClient(t, Config{URL: "http://127.0.0.1:1" + importPath, Token: TokenFile(filepath.Join(t.TempDir(), "none"))})
	probe(t, noToken, StageSettings, "no such file")
	silent := newClient(t, Config{Timeout: soon, URL: rawServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })})
	probe(t, silent, StageAnswer, "no answer in time")
}

func TestProbe_TLS(t *testing.T) {
	t.Parallel()
	right, wrong := newAuthority(t), newAuthority(t)
	s := right.serveTLS(nil, nil)
	trust := func(a *authority) *Client {
		ca := filepath.Join(t.TempDir(), "ca.pem")
		put(t, ca, a.pem, time.Now())
		return newClient(t, Config{URL: s.URL + importPath, TLS: TLSFiles{CAFile: ca}})
	}
	p, _ := probe(t, trust(right), StageDone, "")
	if p.TLS != "TLS 1.3" || time.Until(p.CertEnds) < time.Minute {
		t.Errorf("got %+v", p)
	}
	if p, _ := probe(t, trust(wrong), StageTLS, "certificate"); p.Remote == "" {
		t.Errorf("got %+v", p)
	}
	plain := newClient(t, Config{Timeout: soon, URL: strings.Replace(rawServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) }), "http:", "https:", 1)})
	probe(t, plain, StageTLS, "")
}

func TestProbe_Proxy(t *testing.T) {
	t.Parallel()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(refuses.Close)
	via, err := url.Parse(refuses.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{URL: "https://metrics.invalid" + importPath, Proxy: http.ProxyURL(via)})
	if p, _ := probe(t, c, StageConnect, "Forbidden"); p.Remote != via.Host {
		t.Errorf("got %+v", p)
	}
}
