package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/docker/receiver/internal/line"
)

func newLimits(l Limits, now func() time.Time) *limits {
	l.setDefaults()
	return &limits{Limits: l, now: now, accounts: map[string]*account{}}
}

func TestLimits_Rate(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	l := newLimits(Limits{Rate: 2, Burst: 3}, func() time.Time { return now })
	ask := func(name string) (retryAfter time.Duration) {
		t.Helper()
		leave, err := l.enter(name, true)
		if err == nil {
			leave()
			return 0
		}
		f, ok := err.(*fault)
		if !ok || f.status != http.StatusTooManyRequests || f.retryAfter < time.Second {
			t.Fatalf("got %v", err)
		}
		return f.retryAfter
	}
	for i := range 3 {
		if wait := ask("d"); wait != 0 {
			t.Fatalf("request %d has to wait %v", i, wait)
		}
	}
	if wait := ask("d"); wait != time.Second {
		t.Errorf("got %v, want 1 s", wait)
	}
	if wait := ask("e"); wait != 0 {
		t.Errorf("another device has to wait %v", wait)
	}
	now = now.Add(500 * time.Millisecond)
	if wait := ask("d"); wait != 0 {
		t.Errorf("half a second later: %v", wait)
	}
	if wait := ask("d"); wait == 0 {
		t.Error("it got more than its share")
	}
}

// Two seconds at this rate come to a hair less than one request: who has waited them gets in all the same.
func TestLimits_Rounding(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	l := newLimits(Limits{Rate: 0.49999999999, Burst: 1}, func() time.Time { return now })
	for i := range 3 {
		leave, err := l.enter("d", true)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		leave()
		now = now.Add(2 * time.Second)
	}
}

// In no stretch of time does a device get more than burst + rate × time, and who obeys Retry-After gets in.
func TestLimits_Property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		rate, burst := rapid.Float64Range(0.1, 50).Draw(t, "rate"), rapid.IntRange(1, 20).Draw(t, "burst")
		l := newLimits(Limits{Rate: rate, Burst: burst}, func() time.Time { return now })
		var let []time.Time
		for range rapid.IntRange(1, 100).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			leave, err := l.enter("d", true)
			if err != nil {
				now = now.Add(err.(*fault).retryAfter)
				if leave, err = l.enter("d", true); err != nil {
					t.Fatalf("after Retry-After: %v", err)
				}
			}
			leave()
			let = append(let, now)
		}
		for i := range let {
			for k := i; k < len(let); k++ {
				if most := float64(burst) + rate*let[k].Sub(let[i]).Seconds() + 1e-6; float64(k-i+1) > most {
					t.Fatalf("%d requests in %v, most is %v", k-i+1, let[k].Sub(let[i]), most)
				}
			}
		}
	})
}

// slowSink waits until it is told to go on.
func slowSink(entered chan<- struct{}, goOn <-chan struct{}) sinkFunc {
	return func(ctx context.Context, _ []line.Line) error {
		entered <- struct{}{}
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
}

func TestLimits_Concurrency(t *testing.T) {
	t.Parallel()
	entered, goOn := make(chan struct{}), make(chan struct{})
	ts := start(t, func(c *Config, _ *http.Server) {
		c.Tokens, c.Sink, c.Limits = someTokens, slowSink(entered, goOn), Limits{PerDevice: 2, Requests: 3}
	})
	var wg sync.WaitGroup
	send := func(token, device string) {
		wg.Go(func() {
			if r := ts.as(t, token, "POST", "/api/v1/import", of(device, "a", 0)); r.body != took1 {
				t.Errorf("device %s: got %d %s", device, r.status, r.body)
			}
		})
		<-entered
	}
	send("td", "d")
	send("td", "d")
	r := ts.as(t, "td", "POST", "/api/v1/import", of("d", "a", 0))
	if wantFault(t, r, http.StatusTooManyRequests, "too many requests of this device"); r.header.Get("Retry-After") != "1" {
		t.Errorf("got Retry-After %q", r.header.Get("Retry-After"))
	}
	send("te", "e")
	r = ts.as(t, "te", "POST", "/api/v1/import", of("e", "a", 0))
	wantFault(t, r, http.StatusTooManyRequests, "busy")
	if n, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || n < 1 || n > maxSpread {
		t.Errorf("got Retry-After %q", r.header.Get("Retry-After"))
	}
	// Health is nobody's request.
	if r := ts.as(t, "", "GET", "/health", ""); r.status != 200 {
		t.Errorf("health: got %d", r.status)
	}
	close(goOn)
	wg.Wait()
	go func() { <-entered }()
	if r := ts.as(t, "td", "POST", "/api/v1/import", of("d", "a", 0)); r.body != took1 {
		t.Errorf("afterwards: got %d %s", r.status, r.body)
	}
}

// Many devices at once: each gets its own answer, and the counters add up.
func TestLoad_Devices(t *testing.T) {
	t.Parallel()
	const devices, chunks = 40, 10
	known := tokenMap{}
	for d := range devices {
		known[fmt.Sprint("token", d)] = []string{fmt.Sprint("dev", d)}
	}
	ts := start(t, func(c *Config, _ *http.Server) { c.Tokens = known })
	var wg sync.WaitGroup
	for d := range devices {
		wg.Go(func() {
			token, device := fmt.Sprint("token", d), fmt.Sprint("dev", d)
			for n := range chunks {
				body := of(device, "a", n) + of(fmt.Sprint("dev", (d+1)%devices), "a", n)
				if r := ts.as(t, token, "POST", "/api/v1/import", body); !strings.HasPrefix(r.body, `{"accepted":1,"rejected":1,`) {
					t.Errorf("%s: got %d %s", device, r.status, r.body)
				}
			}
		})
	}
	wg.Wait()
	for d := range devices {
		r := ts.as(t, fmt.Sprint("token", d), "GET", "/api/v1/export?"+match(everything).Encode(), "")
		if strings.Count(r.body, "17000000") != chunks || strings.Count(r.body, "\n") != 1 {
			t.Errorf("device %d: got %s", d, r.body)
		}
	}
}
