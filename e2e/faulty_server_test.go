package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// faultyServer is a proxy of a real server. It refuses the first request with samples,
// refuses one line of the second, and discards the third with a 204. All others it
// forwards.
type faultyServer struct {
	*httptest.Server
	behind  *httputil.ReverseProxy
	imports atomic.Int32
}

func startFaultyServer(t *testing.T, server string) *faultyServer {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	g := &faultyServer{behind: httputil.NewSingleHostReverseProxy(target)}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *faultyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A request without samples is the doctor's.
	if r.URL.Path == "/api/v1/import" && r.ContentLength > 0 {
		switch g.imports.Add(1) {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case 2:
			g.refuseOneLine(w, r)
			return
		case 3:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	g.behind.ServeHTTP(w, r)
}

// refuseOneLine passes all lines on but the first, and says so as the project's
// receiver does.
func (g *faultyServer) refuseOneLine(w http.ResponseWriter, r *http.Request) {
	accepted, refused, rest, err := cutFirstLine(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(rest)), int64(len(rest))
	r.Header.Del("Content-Encoding")
	answer := httptest.NewRecorder()
	g.behind.ServeHTTP(answer, r)
	if answer.Code != http.StatusNoContent {
		w.WriteHeader(answer.Code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"accepted":%d,"rejected":%d,"lines":[{"line":1,"reason":"not this one","retry":false}]}`, accepted, refused)
}

// cutFirstLine counts the samples of the first line and of the others.
func cutFirstLine(body io.Reader) (accepted, refused int, rest []byte, err error) {
	unzipped, err := gzip.NewReader(body)
	if err != nil {
		return 0, 0, nil, err
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		return 0, 0, nil, err
	}
	first := true
	for line := range bytes.Lines(text) {
		var in struct{ Timestamps []int64 }
		if err := json.Unmarshal(line, &in); err != nil {
			return 0, 0, nil, err
		}
		if first {
			refused, first = len(in.Timestamps), false
			continue
		}
		accepted += len(in.Timestamps)
		rest = append(rest, line...)
	}
	return accepted, refused, rest, nil
}

// startClock serves a clock that is behind this machine's.
func startClock(t *testing.T, behind time.Duration) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-behind).UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(server.Close)
	return server.URL
}
