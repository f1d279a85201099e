package skew

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
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
	status     int // 0 = 200
	body       io.ReadCloser
	err        error
	away       atomic.Bool // as err
	set        atomic.Bool // the clock was set: no skew any more
	asked      atomic.Int32
}

func (a *answer) RoundTrip(req *http.Request) (*http.Response, error) {
	a.asked.Add(1)
	time.Sleep(a.trip / 2)
	skew := a.skew
	if a.set.Load() {
		skew = 0
	}
	h := http.Header{"Date": {time.Now().Add(-skew).UTC().Format(http.TimeFormat)}}
	maps.Copy(h, a.header)
	time.Sleep(a.trip - a.trip/2)
	if a.err != nil || a.away.Load() {
		return nil, errors.Join(a.err, errAway)
	}
	res := &http.Response{StatusCode: cmp.Or(a.status, 200), Header: h, Body: a.body, Request: req}
	if res.Body == nil {
		res.Body = io.NopCloser(strings.NewReader(""))
	}
	return res, nil
}

var errAway = errors.New("no route to host")

func checker(a http.RoundTripper, log io.Writer) *Checker {
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

// cache is a cache in front of a clock in a bubble. Its answers are age old.
type cache struct {
	skew, age time.Duration
	keepsDate bool // as it must; a content network writes its own
	heeds     bool // asks the origin where nobody has asked for the address yet
	asked     int
}

func (c *cache) RoundTrip(req *http.Request) (*http.Response, error) {
	c.asked++
	theirs := time.Now().Add(-c.skew)
	h := http.Header{"Via": {"1.1 cache"}}
	switch {
	case c.heeds && req.URL.RawQuery != "":
	case c.keepsDate:
		theirs = theirs.Add(-c.age)
		fallthrough
	default:
		h.Set("Age", strconv.Itoa(int(c.age.Seconds())))
	}
	h.Set("Date", theirs.UTC().Format(http.TimeFormat))
	return &http.Response{StatusCode: 200, Header: h, Body: http.NoBody, Request: req}, nil
}

// A cache passes an old Date on, and Age says how old; or it writes a Date of its
// own. Where the origin can be reached past it, that is asked.
func TestMeasure_CachedAnswer(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, time.Second, -3 * time.Second, time.Minute, -24 * time.Hour} {
		for _, age := range []time.Duration{0, 10 * time.Minute, 30 * 24 * time.Hour} {
			for _, keeps := range []bool{true, false} {
				for _, heeds := range []bool{true, false} {
					if !heeds && age > 0 && skew.Abs() >= age/2 {
						continue // the two readings cannot be told apart
					}
					synctest.Test(t, func(t *testing.T) {
						c := &cache{skew: skew, age: age, keepsDate: keeps, heeds: heeds}
						m, err := checker(c, io.Discard).Measure(t.Context())
						if err != nil || (m.Skew-skew).Abs() > m.Uncertainty || m.Cached != (age > 0 && !heeds) {
							t.Errorf("%+v: got %+v, %v", c, m, err)
						}
						if want := map[bool]int{true: 2, false: 1}[age > 0]; c.asked != want {
							t.Errorf("%+v: asked %d times, want %d", c, c.asked, want)
						}
					})
				}
			}
		}
	}
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

// TestMeasure_Status: the time of a login page, or of whoever answers 101, is nobody's. After 101
// the body is the bare connection: it is closed and not read, since it never ends.
func TestMeasure_Status(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{101: false, 200: true, 204: true, 302: false, 307: false, 401: true, 503: true} {
		synctest.Test(t, func(t *testing.T) {
			body, far := io.Pipe()
			a := &answer{status: status}
			if !want {
				a.body = body
			}
			if _, err := checker(a, io.Discard).Measure(t.Context()); (err == nil) != want || err != nil && !strings.Contains(err.Error(), strconv.Itoa(status)) {
				t.Errorf("%d: %v", status, err)
			}
			if want {
				return
			}
			if _, err := far.Write([]byte("x")); err == nil {
				t.Errorf("%d: the body was read or left open", status)
			}
		})
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
		// A bubble begins at a whole second, and the header is taken for half a second later than
		// it says.
		0: false, 2000 * time.Millisecond: false, 2001 * time.Millisecond: true, 24 * time.Hour: true,
		-1999 * time.Millisecond: false, -2000 * time.Millisecond: true,
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

// The threshold itself is no warning yet.
func TestNote_Boundary(t *testing.T) {
	t.Parallel()
	for skew, warn := range map[time.Duration]bool{
		1999 * time.Millisecond: false, 2000 * time.Millisecond: false, 2001 * time.Millisecond: true,
		-1999 * time.Millisecond: false, -2000 * time.Millisecond: false, -2001 * time.Millisecond: true,
	} {
		var log bytes.Buffer
		checker(&answer{}, &log).note(Measurement{Skew: skew})
		if got := strings.Contains(log.String(), `"level":"WARN"`); got != warn {
			t.Errorf("skew %v: warned %v, want %v", skew, got, warn)
		}
	}
}

// An outage is a line an hour, and the last number stays for three intervals.
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
		time.Sleep(15 * time.Minute)
		if m, ok := c.Last(); !ok || m.Skew.Round(time.Second) != 5*time.Second {
			t.Errorf("during the outage: %+v %v", m, ok)
		}
		time.Sleep(time.Millisecond)
		if m, ok := c.Last(); ok {
			t.Errorf("after three intervals: got %+v, want none", m)
		}
		time.Sleep(59*time.Minute + 59*time.Second)
		a.away.Store(false)
		time.Sleep(5 * time.Minute)
		if _, ok := c.Last(); !ok {
			t.Error("after the outage: got nothing, want a number")
		}
		cancel()
		<-done
		f := func(text string, want int) {
			t.Helper()
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("got %d lines with %q, want %d:\n%s", n, text, want, log.String())
			}
		}
		f("clock check failed", 2)
		f(`clock check works again","failures":14`, 1)
		f(`"clock_skew_url":"http://time.example/","ingest_url":"http://metrics.example/api/v1/import"`, 5)
		f("\n", 5)
	})
}

// A clock that is off is a line an hour, and one when it was set.
func TestRun_OffForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := &answer{skew: 5 * time.Second}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- checker(a, &log).Run(ctx) }()
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		a.set.Store(true)
		time.Sleep(time.Hour)
		cancel()
		<-done
		for text, want := range map[string]int{`"level":"WARN"`: 3, `"repeated":12`: 2, "clock skew below the threshold again": 1, `"failures":25`: 1} {
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("got %d lines with %q, want %d:\n%s", n, text, want, log.String())
			}
		}
	})
}

// urls keeps what was asked for.
type urls struct {
	answer
	mu    sync.Mutex
	asked []string
}

func (u *urls) RoundTrip(req *http.Request) (*http.Response, error) {
	u.mu.Lock()
	u.asked = append(u.asked, req.Method+" "+req.URL.String())
	u.mu.Unlock()
	return u.answer.RoundTrip(req)
}

// The address is its own: the one that samples go to is only named in the log, and
// never asked, so that whatever stands before it cannot tell a wrong time.
func TestRun_AsksItsOwnAddressOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &urls{answer: answer{skew: time.Hour}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := checker(u, io.Discard).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(u.asked) < 12 {
			t.Errorf("asked %d times in an hour", len(u.asked))
		}
		for _, asked := range u.asked {
			if asked != "HEAD http://time.example/" {
				t.Errorf("asked %s", asked)
			}
		}
	})
}

// The same over real sockets: straight, through a proxy that adds its own headers,
// and through one that answers from its cache with a Date of its own.
func TestMeasure_ProxyDate(t *testing.T) {
	t.Parallel()
	const ahead = time.Hour // of the device, seen from the server
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-ahead).UTC().Format(http.TimeFormat))
	}))
	defer origin.Close()
	// proxy passes on what head answers for the address.
	proxy := func(head func(address string) http.Header) http.RoundTripper {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), head(r.URL.String()))
			w.Header().Set("Via", "1.1 proxy")
		}))
		t.Cleanup(server.Close)
		address, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Transport{Proxy: http.ProxyURL(address)}
	}
	var proxied atomic.Int32
	forward := func(address string) http.Header {
		proxied.Add(1)
		res, err := http.Head(address)
		if err != nil {
			return http.Header{"Date": {err.Error()}}
		}
		res.Body.Close()
		return res.Header
	}
	var cached atomic.Int32
	stale := http.Header{"Date": {time.Now().Add(-ahead - 10*time.Minute).UTC().Format(http.TimeFormat)}, "Age": {"600"}}
	for _, c := range []struct {
		what       string
		transport  http.RoundTripper
		wantCached bool
	}{
		{"straight", &http.Transport{}, false},
		{"through a proxy", proxy(forward), false},
		{"through a cache", proxy(func(address string) http.Header {
			if strings.Contains(address, "uncached=") {
				return forward(address)
			}
			cached.Add(1)
			return stale
		}), false},
		{"through a cache that nothing gets past", proxy(func(string) http.Header { return stale }), true},
	} {
		m, err := New(Config{URL: origin.URL + "/time?zone=utc", Interval: time.Minute, Warn: time.Second},
			Deps{Transport: c.transport, Log: slog.New(slog.DiscardHandler)}).Measure(t.Context())
		if err != nil || (m.Skew-ahead).Abs() > m.Uncertainty || m.Cached != c.wantCached {
			t.Errorf("%s: got %+v, %v; want an hour ahead, cached %v", c.what, m, err, c.wantCached)
		}
	}
	if proxied.Load() != 2 || cached.Load() != 1 {
		t.Errorf("the proxy forwarded %d times, want 2; the cache answered %d times, want once", proxied.Load(), cached.Load())
	}
}
