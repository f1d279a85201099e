package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
)

// counted is a sink that counts what reaches it.
type counted struct {
	Sink

	writes atomic.Int32
}

func (c *counted) WriteChunk(ctx context.Context, lines []line.Line, receipt *store.Receipt) error {
	c.writes.Add(1)
	return c.Sink.WriteChunk(ctx, lines, receipt)
}

func (ts *testServer) postChunk(t testing.TB, token, id, body string) reply {
	t.Helper()
	header := http.Header{"X-Chunk-Id": {id}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return ts.do(t, "POST", "/api/v1/import", header, strings.NewReader(body))
}

// A chunk that comes again is answered as before and not stored again; another body, another id and another device are
// another chunk.
func TestReplay(t *testing.T) {
	t.Parallel()
	var sink *counted
	ts := start(t, func(c *Config, _ *http.Server) {
		c.Tokens = someTokens
		if sink == nil {
			sink = &counted{Sink: c.Sink}
		}
		c.Sink = sink
	})
	var writes int32
	f := func(token, id, body string, stores bool) string {
		t.Helper()
		r := ts.postChunk(t, token, id, body)
		if stores {
			writes++
		}
		if r.status != 200 || sink.writes.Load() != writes {
			t.Errorf("%s: got %d %s and %d writes, want %d", id, r.status, r.body, sink.writes.Load(), writes)
		}
		return r.body
	}
	first := of("d", "a", 0) + "rubbish\n"
	answer := f("td", "batch/0", first, true)
	for range 3 {
		if again := f("td", "batch/0", first, false); again != answer {
			t.Errorf("got %s, then %s", answer, again)
		}
	}
	f("td", "batch/1", first, true)
	f("te", "batch/0", of("e", "a", 0), true)
	f("td", "batch/0", of("d", "a", 1), true)  // the rest of it, after a part was found missing
	f("td", "batch/0", of("d", "a", 1), false) // that one is remembered now
	f("td", "batch/0", first, true)
	f("td", "", first, true)
	f("td", "", first, true)

	// Long answers are not kept, which costs time and nothing else.
	long := of("d", "a", 0) + strings.Repeat("rubbish\n", 1000)
	f("td", "long/0", long, true)
	f("td", "long/0", long, true)
	if r := ts.postChunk(t, "td", strings.Repeat("x", 129), first); r.status != http.StatusForbidden {
		t.Errorf("a long id: got %d %s", r.status, r.body)
	}
}

// A repeat that comes while the first request is still at work waits for it.
func TestReplay_InFlight(t *testing.T) {
	t.Parallel()
	entered, goOn := make(chan struct{}), make(chan struct{})
	var sink *counted
	ts := start(t, func(c *Config, _ *http.Server) {
		if sink == nil {
			real := c.Sink
			sink = &counted{Sink: &slowOnce{Sink: real, entered: entered, goOn: goOn}}
		}
		c.Sink = sink
	})
	answers := make(chan string, 3)
	send := func() { answers <- ts.postChunk(t, "", "b/0", of("d", "a", 0)).body }
	go send()
	<-entered
	go send()
	go send()
	close(goOn)
	for range 3 {
		if got := <-answers; got != took1 {
			t.Errorf("got %s", got)
		}
	}
	if got := sink.writes.Load(); got != 1 {
		t.Errorf("%d writes, want 1", got)
	}
}

type slowOnce struct {
	Sink

	entered chan<- struct{}
	goOn    <-chan struct{}
}

func (s *slowOnce) WriteChunk(ctx context.Context, lines []line.Line, receipt *store.Receipt) error {
	s.entered <- struct{}{}
	<-s.goOn
	return s.Sink.WriteChunk(ctx, lines, receipt)
}

// A chunk that could not be kept is not remembered as one that was.
func TestReplay_NotAfterFailure(t *testing.T) {
	t.Parallel()
	broken := true
	var real Sink
	ts := start(t, func(c *Config, _ *http.Server) {
		if real == nil {
			real = c.Sink
		}
		c.Sink = sinkFunc(func(ctx context.Context, lines []line.Line) error {
			if broken {
				return context.DeadlineExceeded
			}
			return real.WriteChunk(ctx, lines, nil)
		})
	})
	if r := ts.postChunk(t, "", "b/0", of("d", "a", 0)); r.status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", r.status, r.body)
	}
	broken = false
	if r := ts.postChunk(t, "", "b/0", of("d", "a", 0)); r.body != took1 {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if got := ts.export(t, match("a")); !strings.Contains(got, "[1]") {
		t.Errorf("got %s", got)
	}
}
