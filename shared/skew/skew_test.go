package skew

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// answer is a server in a bubble: its clock is off by skew, the answer takes
// trip, half of it each way.
type answer struct {
	skew, trip time.Duration
	header     http.Header
	err        error
	away       atomic.Bool // as err
	asked      atomic.Int32
}

func (a *answer) RoundTrip(req *http.Request) (*http.Response, error) {
	a.asked.Add(1)
	time.Sleep(a.trip / 2)
	h := http.Header{"Date": {time.Now().Add(-a.skew).UTC().Format(http.TimeFormat)}}
	maps.Copy(h, a.header)
	time.Sleep(a.trip - a.trip/2)
	if a.err != nil || a.away.Load() {
		return nil, errors.Join(a.err, errAway)
	}
	return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

var errAway = errors.New("no route to host")

func checker(a *answer, log io.Writer) *Checker {
	return New(Config{
		URL: "http://time.example/", IngestURL: "http://metrics.example/api/v1/import", Interval: 5 * time.Minute, Warn: 2 * time.Second,
	}, Deps{Transport: a, Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
}

func TestMeasure_Skew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what       string
		skew, trip time.Duration
	}{
		{"right", 0, 0},
		{"ahead", 90 * time.Second, 0},
		{"behind", -time.Hour, 0},
		{"over a slow link", 3 * time.Second, 4 * time.Second},
		{"a day off", 24 * time.Hour, 800 * time.Millisecond},
		{"since 1970", -56 * 365 * 24 * time.Hour, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, err := checker(&answer{skew: c.skew, trip: c.trip}, io.Discard).Measure(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if off := (m.Skew - c.skew).Abs(); off > m.Uncertainty || m.Uncertainty > 500*time.Millisecond+c.trip/2 {
				t.Errorf("%s: got %v ± %v, want %v", c.what, m.Skew, m.Uncertainty, c.skew)
			}
		})
	}
}

// A cache passes an old Date on; Age says how old.
func TestMeasure_CachedAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old := time.Now().Add(-10 * time.Minute).UTC().Format(http.TimeFormat)
		m, err := checker(&answer{header: http.Header{"Date": {old}, "Age": {"600"}}}, io.Discard).Measure(t.Context())
		if err != nil || !m.Cached || m.Skew.Abs() > m.Uncertainty {
			t.Errorf("got %+v, %v; want no skew, from a cache", m, err)
		}
	})
}

func TestMeasure_AnswersThatSayNothing(t *testing.T) {
	t.Parallel()
	for _, a := range []*answer{
		{header: http.Header{"Date": {""}}},
		{header: http.Header{"Date": {"half past nine"}}},
		{header: http.Header{"Age": {"a while"}}},
		{header: http.Header{"Age": {"-5"}}},
		{err: errors.New("no route to host")},
	} {
		if m, err := checker(a, io.Discard).Measure(t.Context()); err == nil {
			t.Errorf("%v: got %+v, want an error", a.header, m)
		}
	}
}

func TestRun_AtStartAndEachInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := &answer{skew: 1900 * time.Millisecond}
		c := checker(a, &log)
		if _, ok := c.Last(); ok {
			t.Error("a number before anything was asked")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		if m, ok := c.Last(); a.asked.Load() != 1 || !ok || m.Checked.IsZero() {
			t.Errorf("at the start: asked %d times, %+v %v", a.asked.Load(), m, ok)
		}
		time.Sleep(15*time.Minute + time.Second)
		if n := a.asked.Load(); n != 4 {
			t.Errorf("asked %d times in 15 minutes, want 4", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Above 2 s it is a warning that names both addresses; below it is none.
func TestRun_WarningThreshold(t *testing.T) {
	t.Parallel()
	for skew, warn := range map[time.Duration]bool{
		0: false, 1400 * time.Millisecond: false, -1400 * time.Millisecond: false,
		2600 * time.Millisecond: true, -2600 * time.Millisecond: true, 24 * time.Hour: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := checker(&answer{skew: skew}, &log).Run(ctx); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(log.String(), `"level":"WARN"`); got != warn {
				t.Errorf("skew %v: warned %v, want %v: %s", skew, got, warn, log.String())
			}
			for _, want := range []string{"http://time.example/", "http://metrics.example/api/v1/import", `"skew_ms":`} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("skew %v: the line lacks %s: %s", skew, want, log.String())
				}
			}
		})
	}
}

// An outage is one line, and the last number stays.
func TestRun_Outage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := &answer{skew: 5 * time.Second}
		c := checker(a, &log)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		a.away.Store(true)
		time.Sleep(time.Hour)
		if m, ok := c.Last(); !ok || m.Skew.Round(time.Second) != 5*time.Second {
			t.Errorf("during the outage: %+v %v", m, ok)
		}
		cancel()
		<-done
		if n := strings.Count(log.String(), "cannot be compared"); n < 1 || n > 13 {
			t.Errorf("%d lines in an hour of outage, want one for each try at most", n)
		}
	})
}

// The same over real sockets, straight and through a proxy that adds its own
// headers and waits.
func TestMeasure_RealServerAndProxy(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	}))
	defer origin.Close()
	proxied := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied++
		res, err := http.Head(origin.URL)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		res.Body.Close()
		w.Header().Set("Date", res.Header.Get("Date"))
		w.Header().Set("Via", "1.1 proxy")
	}))
	defer proxy.Close()
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for what, transport := range map[string]http.RoundTripper{
		"straight": &http.Transport{}, "through a proxy": &http.Transport{Proxy: http.ProxyURL(proxyURL)},
	} {
		c := New(Config{URL: origin.URL, Interval: time.Minute, Warn: time.Second}, Deps{Transport: transport, Log: slog.New(slog.DiscardHandler)})
		m, err := c.Measure(t.Context())
		if err != nil || (m.Skew-time.Hour).Abs() > m.Uncertainty {
			t.Errorf("%s: got %+v, %v; want an hour ahead", what, m, err)
		}
	}
	if proxied != 1 {
		t.Errorf("the proxy was asked %d times, want once", proxied)
	}
}
