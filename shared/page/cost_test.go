package page

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/store"
)

// TestLedger_IsRemembered: whoever asks again gets the sum there is.
func TestLedger_IsRemembered(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Unix(1_800_000_000, 0))
	asked := 0
	ask := p.ledger.Read
	p.ledger.Read = func(ctx context.Context) (ledger, error) { asked++; return ask(ctx) }
	url := serveMux(t, p)
	for range 20 {
		if l := getJSON[ledger](t, url+"/api/ledger"); l.Inserted != 7 {
			t.Fatalf("got %+v", l)
		}
	}
	if asked != 1 {
		t.Errorf("the rows were counted %d times for 20 questions, want once", asked)
	}
}

// TestPage_SlowReader: a client that asks for much and reads nothing holds up
// nobody.
func TestPage_SlowReader(t *testing.T) {
	t.Parallel()
	var further []store.Sample
	for i := range 150 {
		further = append(further, store.Sample{Series: store.NewSeries(device, "many", store.Number, store.Tag{Name: strings.Repeat("long", 30_000), Value: fmt.Sprint(i)}), Value: 1})
	}
	p := ramp(t, 10*time.Second, 10*time.Second, time.Unix(1_800_000_000, 0), further...)
	url := serveMux(t, p) // an answer of 18 MB, more than a kernel buffers
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /api/series?name=many&range=24h HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // the answer has begun
		t.Fatal(err)
	}
	if resp, body := get(t, url+"/api/status", ""); resp.StatusCode != 200 { // 503 if it got no turn
		t.Errorf("got %d %s beside a client that does not read", resp.StatusCode, body)
	}
}

// TestPage_TellsThatItIsBusy: who gets no turn is told when to retry.
func TestPage_TellsThatItIsBusy(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Now())
	busy := func() *httptest.ResponseRecorder {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		out := httptest.NewRecorder()
		p.handler(p.answerStatus).ServeHTTP(out, httptest.NewRequestWithContext(ctx, "GET", "/api/status", nil))
		return out
	}
	p.file.enter(t.Context())
	if out := busy(); out.Code != 503 || out.Header().Get("Retry-After") == "" || !strings.Contains(out.Body.String(), "busy with other requests") {
		t.Errorf("somebody else has the turn: got %d, %v, %s", out.Code, out.Header(), out.Body)
	}
	p.file.leave()
}

// TestPage_WritesNothing: looking changes neither the file nor the folder.
func TestPage_WritesNothing(t *testing.T) {
	t.Parallel()
	at := sceneNamed(t, "dead-letter").serve(t)
	dir := filepath.Dir(at.page.cfg.Config.Storage.Path)
	state := func() map[string]string {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), "-shm") {
				continue // the lock table of the readers, which is memory
			}
			body, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			all[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(body))
		}
		return all
	}
	before := state()
	for _, path := range []string{"/", "/api/status", "/api/ledger", "/api/series?name=cpu.usage_percent&range=24h"} {
		if resp, body := get(t, at.url+path, ""); resp.StatusCode != 200 {
			t.Fatalf("%s: got %d %s", path, resp.StatusCode, body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		req, err := http.NewRequestWithContext(t.Context(), method, at.url+"/api/status", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: got %d, want 405", method, resp.StatusCode)
		}
	}
	if after := state(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("looking changed the folder:\n%v\n%v", before, after)
	}
}

// TestPage_NoTickWaits: a tick is stored in the middle of a question.
func TestPage_NoTickWaits(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	p := ramp(t, 10*time.Second, time.Hour, now)
	path := p.cfg.Config.Storage.Path
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord", Version: "1"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test's own file
	reader, err := p.file.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	series, _, err := reader.SeriesNamed(t.Context(), device, []string{"ramp"}, 1)
	if err != nil || len(series) != 1 {
		t.Fatalf("got %v, %v", series, err)
	}
	stored := 0
	err = reader.Probe(t.Context(), []int64{series[0].ID}, now.Add(-time.Minute).UnixMilli(), now.UnixMilli(), 1, func(int64, int64, float64) {
		stored++
		tick := now.Add(time.Duration(stored) * time.Second)
		if _, err := in.Insert(t.Context(), tick, []store.Sample{{Series: store.NewSeries(device, "ramp", store.Number), Value: 1}}); err != nil {
			t.Errorf("a tick while somebody reads: %v", err)
		}
	})
	if err != nil || stored < 5 {
		t.Errorf("got %v, %d ticks stored during the question, want some", err, stored)
	}
}

func TestPage_AfterItsEnd(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Now())
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if resp, body := ask(t, p, "/api/series?name=ramp"); resp.StatusCode != 503 || !strings.Contains(body, "stopping") || p.file.reader != nil {
		t.Errorf("got %d %s, want that nothing is opened again", resp.StatusCode, body)
	}
}
