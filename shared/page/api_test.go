package page

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// get returns the answer and its body; tag is sent as If-None-Match.
func get(t testing.TB, url, tag string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func getJSON[T any](t testing.TB, url string) (v T) {
	t.Helper()
	resp, body := get(t, url, "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: got %d %s: %s", url, resp.StatusCode, resp.Header.Get("Content-Type"), body)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%s: %v in %s", url, err, body)
	}
	return v
}

func TestStatus(t *testing.T) {
	t.Parallel()
	i := slices.IndexFunc(scenes, func(s scene) bool { return s.Name == "dead-letter" })
	at := scenes[i].serve(t)
	resp, body := get(t, at.url+"/api/status", "")
	if resp.StatusCode != 200 {
		t.Fatalf("got %d %s", resp.StatusCode, body)
	}
	if strings.Contains(string(body), "token=no") || strings.Contains(string(body), "op:no") {
		t.Errorf("the address of the server shows with its secrets: %s", body)
	}
	var s struct {
		Device   string
		State    struct{ Status string }
		Delivery struct {
			Server      string
			Dead        map[string]int64 `json:"dead_letters"`
			Rejected    map[string]int64 `json:"rejected_total"`
			Dropped     map[string]int64 `json:"dropped_total"`
			Verified    int64            `json:"verified_total"`
			Pending     int64            `json:"pending_rows"`
			LastSuccess *time.Time       `json:"last_accepted"`
			Traffic     *struct {
				Sent      int64 `json:"today_sent_bytes"`
				Received  int64 `json:"today_received_bytes"`
				Month     int64 `json:"month_bytes"`
				Interface string
				Remedy    string `json:"interface_remedy"`
			}
		}
		Storage struct {
			Rows    int64
			Full    *float64 `json:"full_in_seconds"`
			Written *struct {
				Value float64
				Basis float64 `json:"basis_seconds"`
			} `json:"written_per_day"`
		}
		Daemons []struct {
			Name    string
			Running bool
			Unclean int
			Last    []struct{ Clean bool }
		}
		FileError string `json:"file_error"`
	}
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatal(err)
	}
	d := s.Delivery
	if s.Device != device || s.State.Status != "degraded" || d.Server != "metrics.example" || s.FileError != "" {
		t.Errorf("got %s, %s, %s, %q", s.Device, s.State.Status, d.Server, s.FileError)
	}
	if d.Dead["bad_request"] != 214 || d.Dead["never_seen"] != 6 || d.Rejected["bad_request"] != 214 || d.Dropped["size"] != 18 || d.Verified != 1_481_004 || d.Pending == 0 || d.LastSuccess == nil {
		t.Errorf("got delivery %+v", d)
	}
	if u := d.Traffic; u == nil || u.Sent < 2_400_000 || u.Received < 480_000 || u.Month < 2_880_000 || u.Interface != "wwan0" || !strings.Contains(u.Remedy, "include: ['wwan0']") {
		t.Errorf("got traffic %+v, want what the file has of today and the month", u)
	}
	// steady writes 610 bytes a second.
	if w := s.Storage.Written; w == nil || math.Abs(w.Value-610*86400) > 1 || w.Basis < 7000 {
		t.Errorf("got written %+v, want 610 B/s for a day from two hours", w)
	}
	if s.Storage.Rows == 0 || s.Storage.Full == nil || *s.Storage.Full <= 0 {
		t.Errorf("got storage %+v", s.Storage)
	}
	if len(s.Daemons) != 2 || !s.Daemons[1].Running || s.Daemons[1].Unclean != 1 || len(s.Daemons[1].Last) != 3 {
		t.Errorf("got daemons %+v, want shipperd running, and one of its earlier runs killed", s.Daemons)
	}
}

// said is what some tests want of /api/status.
type said struct {
	State struct {
		Status  string
		Reasons []struct{ Code, Message, Remedy, Words, Advice string }
	}
	Delivery struct {
		Pending int64     `json:"pending_rows"`
		Oldest  time.Time `json:"oldest_pending"`
	}
}

// TestStatus_CountsForItself: the daemon counts the pending rows now and then; who
// watches a backlog go down sees it go.
func TestStatus_CountsForItself(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Unix(1_800_000_000, 0))
	p.cfg.Monitor = health.NewMonitor(health.About{Name: "shipperd"}, health.LimitsOf(p.cfg.Config), func(context.Context) health.Input {
		return health.Input{Storage: &health.Storage{Pending: 1_000_000}} // of a while ago
	}, nil)
	s := getJSON[said](t, serveMux(t, p)+"/api/status")
	if s.Delivery.Pending != 7 || s.Delivery.Oldest.Unix() != 1_800_000_000-60 {
		t.Errorf("got %d pending, the oldest from %v, want the 7 there are now", s.Delivery.Pending, s.Delivery.Oldest)
	}
	if len(s.State.Reasons) != 0 || s.State.Status != "ok" {
		t.Errorf("got %+v, want no backlog any more", s.State)
	}
}

// TestStatus_SaysItOnce: what the daemon has found the page does not find again.
func TestStatus_SaysItOnce(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "dead-letter")
	s.Daemon, s.Age = "shipperd", 10*time.Minute
	s.Input = func(now time.Time, st health.Storage) health.Input {
		return health.Input{Storage: &st, Uploader: &health.Uploader{Started: now, LastUpload: now, Found: []health.Active{
			health.DeadLetters.Active(now),
		}}}
	}
	got := getJSON[said](t, s.serve(t).url+"/api/status").State.Reasons
	if len(got) != 1 || got[0].Words != "Some samples could not be delivered and are kept as dead letters" || got[0].Remedy == "" || got[0].Advice != got[0].Remedy {
		t.Errorf("got %+v, want one reason for the dead letters", got)
	}
}

func TestStatus_NotModified(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Unix(1_800_000_000, 0))
	url := serveMux(t, p)
	for _, path := range []string{"/api/series?name=ramp", "/api/status", "/api/ledger", "/", "/assets/app.js"} {
		resp, body := get(t, url+path, "")
		tag := resp.Header.Get("ETag")
		if resp.StatusCode != 200 || tag == "" || len(body) == 0 || resp.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: got %d, tag %q, %d bytes", path, resp.StatusCode, tag, len(body))
		}
		for _, known := range []string{tag, "W/" + tag, `"x", ` + tag} {
			if resp, body := get(t, url+path, known); resp.StatusCode != 304 || len(body) != 0 {
				t.Errorf("%s with %s: got %d and %d bytes, want 304 and none", path, known, resp.StatusCode, len(body))
			}
		}
		if resp, _ := get(t, url+path, `"other"`); resp.StatusCode != 200 {
			t.Errorf("%s with another tag: got %d, want 200", path, resp.StatusCode)
		}
	}
}

func TestStatus_NoFile(t *testing.T) {
	t.Parallel()
	p := ramp(t, time.Second, 0, time.Now())
	if err := os.Remove(p.cfg.Config.Storage.Path); err != nil {
		t.Fatal(err)
	}
	resp, body := ask(t, p, "/api/status")
	if resp.StatusCode != 200 || !strings.Contains(body, "file not found") {
		t.Errorf("got %d %s, want the state, and what is wrong with the file", resp.StatusCode, body)
	}
	for _, path := range []string{"/api/series?name=ramp", "/api/ledger"} {
		if resp, body := ask(t, p, path); resp.StatusCode != 503 || !strings.Contains(body, "file not found") {
			t.Errorf("%s: got %d %s, want 503", path, resp.StatusCode, body)
		}
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	url := serveMux(t, ramp(t, 10*time.Second, time.Minute, time.Unix(1_800_000_000, 0)))
	l := getJSON[ledger](t, url+"/api/ledger")
	if l.Inserted != 7 || l.Pending != 7 || l.Difference != 0 {
		t.Errorf("got %+v, want 7 samples, all pending", l)
	}
}

// TestPage_OneAtATime: who does not get a turn in time is told so, and nobody
// hangs.
func TestPage_OneAtATime(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Now())
	if !p.file.enter(t.Context()) {
		t.Fatal("no turn")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p.file.enter(ctx) {
		t.Error("two have the turn")
	}
	p.file.leave()
	if resp, _ := ask(t, p, "/api/series?name=ramp"); resp.StatusCode != 200 {
		t.Errorf("afterwards: got %d", resp.StatusCode)
	}
}

func TestFile_RestsAndCloses(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Now())
	open := func() { // as a question does
		t.Helper()
		p.file.enter(t.Context())
		defer p.file.leave()
		if _, err := p.file.open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	open()
	p.file.rest()
	if p.file.reader != nil {
		t.Error("the connection stays open although nobody asks")
	}
	open()
	if err := p.Close(); err != nil || p.file.reader != nil {
		t.Errorf("got %v and %v, want it closed", err, p.file.reader)
	}
}

// What was read a while ago is no upload that is late, however short the interval is.
func TestUploadConditions(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Collection.Interval, c.Remote.UploadInterval = time.Second, 2*time.Second
	c.Remote.URL = "https://metrics.example/api/v1/import"
	read := time.Now().Add(-14 * time.Second)
	for age, want := range map[time.Duration]int{3 * time.Second: 0, 5 * time.Second: 1} {
		facts := slowFacts{at: read, lastAccepted: read.Add(-age), shipperRuns: true}
		got := uploadConditions(facts, 1, c)
		if len(got) != want {
			t.Errorf("the last upload was %v old: got %+v, want %d", age, got, want)
		}
		facts.shipperRuns = false // which is why
		if got := uploadConditions(facts, 1, c); got != nil {
			t.Errorf("shipperd does not run: got %+v", got)
		}
	}
	if got := uploadConditions(slowFacts{at: read, shipperRuns: true}, 1, c); got != nil {
		t.Errorf("shipperd has just started for the first time: got %+v", got)
	}
	facts := slowFacts{at: read, lastAccepted: read.Add(-5 * time.Second), shipperRuns: true}
	for _, code := range []string{"credentials", "not_visible"} {
		facts.stats = append(facts.stats, store.Stat{Name: metrics.UploadFailing.Name, Tags: `{"cause":"` + code + `"}`, Kind: "gauge", Value: 1, Updated: read})
	}
	got := uploadConditions(facts, 1, c)
	if len(got) != 2 || !strings.HasSuffix(got[0].Message, ": metrics.example refused the credentials") || got[0].Remedy != health.CauseCredentials.Remedy || got[1].Code != "not_visible" {
		t.Errorf("what shipperd has saved: got %+v", got)
	}
}

// What the file adds can make the status worse or better, and dates it.
func TestState_Show(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Unix(int64(60*minute), 0).UTC() }
	late := health.Active{Code: "upload_late", Severity: health.Degraded, Message: "late", Since: at(5)}
	stalled := health.Active{Code: "upload_stalled", Severity: health.Error, Message: "stalled", Since: at(7)}
	f := func(s state, want health.Status, since time.Time, active ...health.Active) {
		t.Helper()
		s.show(active)
		if s.Status != want || !s.Since.Equal(since) {
			t.Errorf("got %v since %v, want %v since %v", s.Status, s.Since, want, since)
		}
	}
	f(state{}, health.OK, time.Time{})
	f(state{Since: at(1)}, health.OK, at(1))
	f(state{Since: at(1)}, health.Degraded, at(5), late)
	f(state{Status: health.Degraded, Since: at(9)}, health.Degraded, at(5), late)
	f(state{Status: health.Degraded, Since: at(1)}, health.Error, at(7), late, stalled)
	f(state{Status: health.Degraded, Since: at(1)}, health.OK, time.Time{})
}
