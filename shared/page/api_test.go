package page

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
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

// drawn is a chart as a client reads it.
type drawn struct {
	FromMS  int64 `json:"from_ms"`
	StepMS  int64 `json:"step_ms"`
	EveryMS int64 `json:"every_ms"`
	NextMS  int64 `json:"next_ms"`
	Points  int
	LeftOut int `json:"left_out"`
	Series  []struct {
		Name   string
		Tags   map[string]string
		Values []*float64
	}
}

// ramp is a page over a file whose one series counts the seconds since start.
func ramp(t testing.TB, every, length time.Duration, now time.Time, further ...store.Sample) *Page {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord", Version: "1"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	series := store.NewSeries(device, "ramp", store.Number)
	for at := now.Add(-length).Truncate(every); !at.After(now); at = at.Add(every) {
		batch := append([]store.Sample{{Series: series, Value: float64(at.Unix())}}, further...)
		if _, err := in.Insert(t.Context(), at, batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.Path, cfg.Device.ID = path, device
	monitor := health.NewMonitor(health.About{Name: "collectord"}, health.LimitsOf(cfg), func(context.Context) health.Input { return health.Input{} }, nil)
	p := New(Config{Config: cfg, Monitor: monitor, Now: func() time.Time { return now }})
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func ask(t testing.TB, p *Page, query string) (*http.Response, string) {
	t.Helper()
	server := serveMux(t, p)
	resp, body := get(t, server+query, "")
	return resp, string(body)
}

func TestSeries_Ranges(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_123, 0)
	p := ramp(t, 10*time.Second, 25*time.Hour, now)
	url := serveMux(t, p)
	for name, s := range spans {
		c := getJSON[drawn](t, url+"/api/series?name=ramp&range="+name)
		step := s.step.Milliseconds()
		if c.StepMS != step || c.Points != int(s.length/s.step) || len(c.Series) != 1 || len(c.Series[0].Values) != c.Points || c.NextMS != c.FromMS+int64(c.Points-1)*step {
			t.Fatalf("%s: got %d points of %d ms from %d, next %d", name, c.Points, c.StepMS, c.FromMS, c.NextMS)
		}
		if c.NextMS > now.UnixMilli() || c.NextMS+step <= now.UnixMilli() {
			t.Errorf("%s: the last step begins at %d, now is %d", name, c.NextMS, now.UnixMilli())
		}
		// A point is the mean of samples of its own step: of all, where that is cheap.
		for i, v := range c.Series[0].Values {
			start := float64(c.FromMS+int64(i)*step) / 1000
			switch {
			case v == nil && s.step >= 10*time.Second:
				t.Errorf("%s: point %d is missing", name, i)
			case v != nil && (*v < start || *v >= start+s.step.Seconds()):
				t.Errorf("%s: point %d is %v, want it from %v on", name, i, *v, start)
			}
		}
	}
}

func TestSeries_Statistics(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000+119, 0)
	url := serveMux(t, ramp(t, 5*time.Second, 2*time.Hour, now))
	f := func(stat string, want float64) {
		t.Helper()
		c := getJSON[drawn](t, url+"/api/series?name=ramp&range=1h&stat="+stat)
		// The step from 1_800_000_080 on has 80, 85, 90, 95.
		i := (1_800_000_080_000 - c.FromMS) / c.StepMS
		got := *c.Series[0].Values[i]
		if math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s: got %v, want %v", stat, got, want)
		}
	}
	f("mean", 1_800_000_087.5)
	f("max", 1_800_000_095)
	f("min", 1_800_000_080)
	f("last", 1_800_000_095)
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	want := map[string]float64{"mean": 1.5, "max": 7, "min": -4, "last": 0}
	for _, s := range statistics {
		sum := 0.0
		for i, v := range []float64{3, 7, -4, 0} {
			sum = s.add(sum, v, i)
		}
		if got := s.end(sum, 4); got != want[s.name] {
			t.Errorf("%s: got %v, want %v", s.name, got, want[s.name])
		}
	}
}

func TestSeries_Since(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_119, 0)
	url := serveMux(t, ramp(t, 10*time.Second, 2*time.Hour, now))
	whole := getJSON[drawn](t, url+"/api/series?name=ramp&range=1h")
	f := func(since int64, wantFrom int64) {
		t.Helper()
		c := getJSON[drawn](t, fmt.Sprintf("%s/api/series?name=ramp&range=1h&since=%d", url, since))
		if c.FromMS != wantFrom || c.NextMS != whole.NextMS || len(c.Series[0].Values) != int((whole.NextMS-wantFrom)/c.StepMS)+1 {
			t.Errorf("since %d: got from %d, next %d, %d values", since, c.FromMS, c.NextMS, len(c.Series[0].Values))
		}
		n := len(c.Series[0].Values)
		for i, v := range c.Series[0].Values {
			if old := whole.Series[0].Values[len(whole.Series[0].Values)-n+i]; *v != *old {
				t.Errorf("since %d: value %d is %v, was %v", since, i, *v, *old)
			}
		}
	}
	f(whole.NextMS, whole.NextMS)
	f(whole.NextMS-1, whole.NextMS-whole.StepMS)
	f(whole.NextMS-5*whole.StepMS, whole.NextMS-5*whole.StepMS)
	f(1, whole.FromMS)
	f(store.MaxTimestampMS, whole.NextMS) // a browser whose clock is far ahead
}

func TestSeries_Refuses(t *testing.T) {
	t.Parallel()
	p := ramp(t, 10*time.Second, time.Minute, time.Now())
	for query, want := range map[string]string{
		"":                      "name=",
		"?range=1h":             "name=",
		"?name=ramp&range=2h":   "range=15m, 1h, 6h or 24h",
		"?name=ramp&range=":     "range=15m",
		"?name=ramp&stat=sum":   "stat=mean",
		"?name=ramp&since=x":    "since=",
		"?name=ramp&since=-1":   "since=",
		"?name=ramp&since=1e99": "since=",
		"?" + strings.Repeat("name=a&", maxNames+1): "1 to 64 times name=",
	} {
		resp, body := ask(t, p, "/api/series"+query)
		if resp.StatusCode != 400 || !strings.Contains(body, want) || !json.Valid([]byte(body)) {
			t.Errorf("%.40s: got %d %s, want 400 with %q", query, resp.StatusCode, body, want)
		}
	}
	resp, body := ask(t, p, "/api/series?name=nothing&name=')--")
	if resp.StatusCode != 200 || !strings.Contains(body, `"series":[]`) {
		t.Errorf("an unknown name: got %d %s, want no series", resp.StatusCode, body)
	}
}

func TestSeries_LeavesOut(t *testing.T) {
	t.Parallel()
	var further []store.Sample
	for i := range maxSeries + 30 {
		further = append(further, store.Sample{Series: store.NewSeries(device, "many", store.Number, store.Tag{Name: "i", Value: fmt.Sprint(i)}), Value: 1})
	}
	url := serveMux(t, ramp(t, 10*time.Second, time.Minute, time.Unix(1_800_000_000, 0), further...))
	c := getJSON[drawn](t, url+"/api/series?name=many&range=15m")
	if len(c.Series) != maxSeries || c.LeftOut != 30 {
		t.Errorf("got %d series and %d left out, want %d and 30", len(c.Series), c.LeftOut, maxSeries)
	}
}

func TestSpan_Every(t *testing.T) {
	t.Parallel()
	f := func(name string, n int, length, want time.Duration) {
		t.Helper()
		if got := spans[name].every(n, length); got != want {
			t.Errorf("%s of %d series: got a sample each %v, want each %v", name, n, got, want)
		}
	}
	f("24h", 100, 24*time.Hour, 5*time.Minute)
	f("24h", 9, 24*time.Hour, time.Minute)
	f("24h", 100, 10*time.Minute, 5*time.Second)
	f("6h", 100, 6*time.Hour, 2*time.Minute)
	f("6h", 3, 6*time.Hour, 10*time.Second)
	f("1h", 9, time.Hour, 5*time.Second)
	f("15m", 9, 15*time.Minute, time.Second)
	for name, s := range spans { // what is promised of the cost, and that steps meet
		for n := range maxSeries {
			every := s.every(n, s.length)
			if s.step%every != 0 || every < s.step && int(s.length/every)*(n+probeCost) > maxCost {
				t.Errorf("%s of %d series: %v", name, n, every)
			}
		}
	}
}

func TestNumbers_JSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(numbers{1, math.NaN(), 0.5, math.Inf(1), 8_216_000_000, -1.25e-9})
	if want := `[1,null,0.5,null,8216000000,-1.25e-09]`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if got, err := json.Marshal(numbers{}); string(got) != "[]" || err != nil {
		t.Errorf("got %s, %v, want []", got, err)
	}
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
				Sent  int64 `json:"today_sent_bytes"`
				Month *struct {
					Value, Basis float64
				} `json:"per_month"`
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
	// steady sends 52 and receives 9 bytes a second, and writes 610.
	if d.Traffic == nil || d.Traffic.Month == nil || math.Abs(d.Traffic.Month.Value-61*30*86400) > 1 {
		t.Errorf("got traffic %+v, want 61 B/s for 30 days", d.Traffic)
	}
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
	if resp.StatusCode != 200 || !strings.Contains(body, "there is no such file") {
		t.Errorf("got %d %s, want the state, and what is wrong with the file", resp.StatusCode, body)
	}
	for _, path := range []string{"/api/series?name=ramp", "/api/ledger"} {
		if resp, body := ask(t, p, path); resp.StatusCode != 503 || !strings.Contains(body, "there is no such file") {
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

func TestAssets(t *testing.T) {
	t.Parallel()
	url := serveMux(t, ramp(t, time.Second, 0, time.Now()))
	for path := range assets {
		resp, body := get(t, url+path, "")
		if resp.StatusCode != 200 || len(body) == 0 || resp.Header.Get("Content-Type") == "" {
			t.Errorf("%s: got %d, %q, %d bytes", path, resp.StatusCode, resp.Header.Get("Content-Type"), len(body))
		}
		if strings.Contains(string(body), "innerHTML") && !strings.Contains(path, "uplot") {
			t.Errorf("%s makes markup of text", path)
		}
	}
	_, index := get(t, url+"/", "")
	for _, inline := range []string{" style=", "<style", " onclick=", "javascript:", "<script>"} {
		if strings.Contains(string(index), inline) {
			t.Errorf("the page has %q, which its policy forbids", inline)
		}
	}
}

// Every reason that a daemon can give has words for a person.
func TestAdvice(t *testing.T) {
	t.Parallel()
	codes := map[string]bool{"dead_letters": true}
	for _, r := range health.Rules() {
		codes[r.Code] = true
	}
	for _, f := range health.Faults() {
		codes[f.Code] = true
	}
	for code := range codes {
		if advice[code] == "" {
			t.Errorf("no advice for %s", code)
		}
	}
	for code := range advice {
		if !codes[code] {
			t.Errorf("advice for %s, which nobody says", code)
		}
	}
	if got := adviceFor("new"); !strings.Contains(got, "new") {
		t.Errorf("got %q", got)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	var d drain
	start := time.Unix(1_800_000_000, 0)
	at := func(s, rows int64, stored *peak) *draining {
		return d.watch(start.Add(time.Duration(s)*time.Second), rows, 2500, stored)
	}
	if g := at(0, 100_000, nil); g != nil {
		t.Errorf("the first look: got %+v, want nothing", g)
	}
	if g := at(5, 100_000, nil); g != nil {
		t.Errorf("it stands still: got %+v", g)
	}
	g := at(10, 90_000, &peak{Rows: 200_000})
	if g == nil || g.RowsPerSecond != 1000 || g.SecondsLeft != 87.5 || g.PeakRows != 200_000 || g.Done != 0.55 {
		t.Errorf("got %+v, want 1000 rows a second and 87.5 s to go", g)
	}
	if g := at(12, 95_000, nil); g == nil || g.RowsPerSecond <= 0 {
		t.Errorf("it still goes down on the whole: got %+v", g)
	}
	if g := at(20, 2500, nil); g != nil {
		t.Errorf("one batch is no backlog: got %+v", g)
	}
	if g := at(500, 90_000, nil); g != nil {
		t.Errorf("after a pause: got %+v, want a new start", g)
	}
	if g := at(400, 10_000, nil); g != nil {
		t.Errorf("the clock went back: got %+v, want a new start", g)
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	g := growth{todayFrom: 3_600_000}
	for i, v := range []float64{100, 200, 190, 250, 300} { // killed once: it went on from 190
		g.add(int64(i+1)*1_800_000, v)
	}
	if g.total != 210 || g.today != 110 || g.beganToday != 3_600_000 {
		t.Errorf("got %+v, want 210 in all and 110 since 3,600,000", g)
	}
	if f := g.over(1); f == nil || f.Value != 2520 || f.BasisSeconds != 7200 {
		t.Errorf("got %+v, want 2520 a day from two hours", f)
	}
	short := growth{}
	short.add(1, 1)
	short.add(60_000, 2)
	if f := short.over(1); f != nil {
		t.Errorf("a minute: got %+v, want no forecast", f)
	}
}

func TestRise(t *testing.T) {
	t.Parallel()
	var r rise
	for i, v := range []float64{90_000, 100, 5000, 70_000, 60_000, 65_000} {
		r.add(int64(i), v, 2500)
	}
	if r.peak != 70_000 || r.at != 3 {
		t.Errorf("got %+v, want the peak of the backlog there is now", r)
	}
	r.add(9, 10, 2500)
	if r.at != 0 {
		t.Errorf("no backlog: got %+v", r)
	}
}
