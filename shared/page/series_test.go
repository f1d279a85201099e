package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
)

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

// TestSeries_TrueTime: charts go by true time. The boot before began in 1970, the present one is an
// hour behind; what both have sampled stands where it was taken, up to now.
func TestSeries_TrueTime(t *testing.T) {
	t.Parallel()
	const behind = int64(3_600_000)
	path := filepath.Join(t.TempDir(), "metrics.db")
	o := store.Options{Path: path, Daemon: "collectord", Version: "1"}
	in, err := store.OpenInserter(t.Context(), o, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	series := store.NewSeries(device, "ramp", store.Number)
	at := clock.Read()
	at.Wall = at.Wall.Truncate(time.Minute)
	truth := at.Wall.UnixMilli() + behind
	// One sample each 10 s, its value is its true time; the last at now.
	for _, boot := range []struct {
		id       string
		from, to int64 // seconds before now
		wall     func(ms int64) int64
	}{
		{"before", 600, 300, func(ms int64) int64 { return ms - truth + 800_000 }},
		{at.BootID, 290, 0, func(ms int64) int64 { return ms - behind }},
	} {
		for s := boot.from; s >= boot.to; s -= 10 {
			ms := truth - s*1000
			wall := time.UnixMilli(boot.wall(ms))
			m := clock.Moment{Wall: wall, Boot: at.Boot - time.Duration(s)*time.Second, BootID: boot.id}
			if r, err := in.Record(t.Context(), m, wall, []store.Sample{{Series: series, Value: float64(ms) / 1000}}); err != nil || r.Inserted != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
	}
	line, err := in.Timeline(t.Context())
	if err != nil || len(line) != 3 {
		t.Fatalf("epochs %+v, %v", line, err)
	}
	ob, err := store.OpenOutbox(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before, present := line[1], line[2]
	before.TrueOffset, before.How = truth-600_000-before.First.TimestampMS(), store.HowEstimated
	present.TrueOffset, present.How = present.WallOffset+behind, store.HowServer
	if err := errors.Join(ob.Correct(t.Context(), before, present), ob.Close(t.Context()), in.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.Path, cfg.Device.ID = path, device
	monitor := health.NewMonitor(health.About{Name: "collectord"}, health.LimitsOf(cfg), func(context.Context) health.Input { return health.Input{} }, nil)
	p := New(Config{Config: cfg, Monitor: monitor})
	t.Cleanup(func() { _ = p.Close() })
	p.moment = func() clock.Moment { return at }
	for _, query := range []string{"range=15m", "range=1h", "range=24h"} {
		c := getJSON[drawn](t, serveMux(t, p)+"/api/series?name=ramp&stat=last&"+query)
		if last := c.FromMS + int64(c.Points)*c.StepMS; last <= truth || last > truth+c.StepMS || len(c.Series) != 1 {
			t.Fatalf("%s: %d series up to %d, now is %d", query, len(c.Series), last, truth)
		}
		n := 0
		for i, v := range c.Series[0].Values {
			start := c.FromMS + int64(i)*c.StepMS
			if v != nil {
				n++
				if ms := int64(*v * 1000); ms < start || ms >= start+c.StepMS {
					t.Errorf("%s: the step at %d s before now has the sample of %d s before it", query, (truth-start)/1000, (truth-ms)/1000)
				}
			} else if c.StepMS >= 10_000 && truth-600_000 <= start && start <= truth {
				t.Errorf("%s: nothing at %d s before now", query, (truth-start)/1000)
			}
		}
		if n < 3 {
			t.Errorf("%s: %d points", query, n)
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
		"?name=ramp&range=2h":   "range must be 15m, 1h, 6h or 24h",
		"?name=ramp&range=":     "range must be 15m",
		"?name=ramp&stat=sum":   "stat must be mean",
		"?name=ramp&since=x":    "since must be",
		"?name=ramp&since=-1":   "since must be",
		"?name=ramp&since=1e99": "since must be",
		"?" + strings.Repeat("name=a&", maxNames+1): "name= 1 to 64 times",
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

// FuzzParseQuestion: whatever is asked, what is taken for a question is within its
// bounds.
func FuzzParseQuestion(f *testing.F) {
	for _, seed := range []string{"name=a", "name=a&name=b&range=24h&stat=max&since=1", "name=%00&since=-1", "name=a;range=1h", "%zz", "name=a&range=1h&range=2h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseSeriesQuery(&http.Request{URL: &url.URL{RawQuery: query}})
		if err != nil {
			if _, bad := errors.AsType[badQuery](err); !bad {
				t.Errorf("%q: got %v, which is not the asker's fault", query, err)
			}
			return
		}
		if len(q.names) == 0 || len(q.names) > maxNames || q.span != spans[q.rangeKey] || q.span.step <= 0 || q.stat.add == nil || q.since < 0 || q.since > store.MaxTimestampMS {
			t.Errorf("%q: got %+v", query, q)
		}
	})
}
