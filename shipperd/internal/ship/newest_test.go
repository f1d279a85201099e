package ship

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// slow is a link of so many bytes a second each way.
func slow(bytesPerSecond int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, req *http.Request, server http.Handler) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		const headers = 250
		time.Sleep(time.Duration(len(body)+headers) * time.Second / time.Duration(bytesPerSecond))
		req.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, req)
		time.Sleep(time.Duration(answer.Body.Len()+headers) * time.Second / time.Duration(bytesPerSecond))
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // the client may have gone
	}
}

// newest is a device with newest_first and a tick every ten seconds.
type newest struct {
	*rig
	waiting []time.Time // ticks that are not at the server
	arrived int         // ticks that are
	lag     time.Duration
}

func newNewest(t *testing.T, n int, change ...func(*rig)) *newest {
	return &newest{rig: newRig(t, n, append(change, func(r *rig) { r.cfg.NewestFirst = true })...)}
}

const tickEvery = 10 * time.Second

// outage is a backlog of a tick a minute that ends now.
func (n *newest) outage(d time.Duration) {
	n.t.Helper()
	n.ticks(int(d/time.Minute), time.Minute)
	n.sleep(tickEvery)
}

// goOn takes samples for a while and notes how long they take to be answered 2xx; until ends it
// early.
func (n *newest) goOn(d time.Duration, until func() bool) {
	n.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) && !until(); {
		n.tick(n.now())
		n.waiting = append(n.waiting, n.now())
		for range int(tickEvery / time.Second) {
			n.sleep(time.Second)
			for len(n.waiting) > 0 && n.uploaded(n.waiting[0]) {
				n.waiting = n.waiting[1:]
				n.arrived++
			}
			if len(n.waiting) > 0 {
				n.lag = max(n.lag, time.Since(n.waiting[0]))
			}
		}
	}
}

// uploaded reports whether the samples of a tick are.
func (n *newest) uploaded(at time.Time) bool {
	n.t.Helper()
	rows, err := n.watch.States(context.Background(), store.PackKey(at.UnixMilli(), 0), store.PackKey(at.UnixMilli(), store.MaxSeries), 1)
	if err != nil {
		n.t.Fatal(err)
	}
	return len(rows) == 0 || rows[0].Uploaded
}

// behind is how many samples of the outage are not sent.
func (n *newest) behind() int { return len(n.pending(1 << 30)) }

// never lets goOn last.
func never() bool { return false }

// soon is what an upload of the present may take: an interval with its jitter, a request of the
// past, and some seconds of its own.
func (n *newest) soon() time.Duration { return n.cfg.UploadInterval*6/5 + shortFor + 10*time.Second }

// TestNewest_SlowLink: after an outage the present is there within an upload interval and 30 s, and
// stays so until the past is there, too. The backlog takes minutes.
func TestNewest_SlowLink(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{30 * time.Second, time.Minute} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNewest(t, 40, func(r *rig) { r.cfg.UploadInterval = interval })
				n.vm.Through(slow(250))
				n.outage(8 * time.Hour)
				n.run()
				start := time.Now()
				n.goOn(time.Minute, never)
				if behind := n.behind(); behind < 10_000 {
					t.Fatalf("only %d samples of the outage are left after a minute", behind)
				}
				n.goOn(3*time.Hour, func() bool { return n.behind() < 200 })
				t.Logf("largest lag %v, the past took %v", n.lag, time.Since(start))
				if n.lag > n.soon() {
					t.Errorf("a sample took %v, want at most %v", n.lag, n.soon())
				}
				if n.behind() >= 200 {
					t.Errorf("%d samples are left after %v", n.behind(), time.Since(start))
				}
				n.deliver(time.Hour)
				if c := n.counts(); c.Requeued > 0 {
					t.Errorf("%d samples sent again", c.Requeued)
				}
			})
		})
	}
}

// TestNewest_Faults: each fault in both its ways, while the past is being sent.
func TestNewest_Faults(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]testkit.Step{
		"replies lost, stored":     {testkit.ResetAfter(testkit.WholeBody, testkit.KeepAll), testkit.ResetAfter(testkit.WholeBody, testkit.KeepAll)},
		"replies lost, not stored": {testkit.ResetAfter(testkit.WholeBody, testkit.KeepNone), testkit.ResetAfter(testkit.WholeBody, testkit.KeepNone)},
		"500, stored":              {testkit.Answer(500, testkit.KeepAll), testkit.Answer(500, testkit.KeepAll)},
		"500, not stored":          {testkit.Answer(500, testkit.KeepNone), testkit.Answer(500, testkit.KeepNone)},
		"204, not stored":          {testkit.AcceptSome(testkit.KeepNone), testkit.AcceptSome(testkit.KeepNone)},
		"204, half stored":         {testkit.AcceptSome(testkit.KeepEvery(2)), testkit.AcceptSome(testkit.KeepEvery(2))},
		"hangs, stored":            {testkit.Hang(testkit.WholeBody, testkit.KeepAll), testkit.Hang(testkit.WholeBody, testkit.KeepAll)},
		"hangs, half a body":       {testkit.Hang(testkit.HalfBody, testkit.KeepNone), testkit.Hang(testkit.HalfBody, testkit.KeepNone)},
	} {
		for _, first := range []int{0, 1, 3} { // after so many requests that are answered
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					n := newNewest(t, 12, func(r *rig) { r.cfg.BatchSize, r.cfg.CatchUpRows = 100, 600 })
					n.outage(3 * time.Hour)
					for range first {
						n.vm.Then(testkit.Step{Status: 204, Keep: testkit.KeepAll})
					}
					n.vm.Then(steps...)
					n.run()
					n.goOn(15*time.Minute, never)
					n.deliver(4 * time.Hour)
				})
			})
		}
	}
}

// TestNewest_OutagesAndKills: outages and kills leave holes, and holes in what is left of the
// first one.
func TestNewest_OutagesAndKills(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNewest(t, 20, func(r *rig) {
			r.cfg.BatchSize, r.cfg.CatchUpRows, r.cfg.CatchUpBytesPerSecond = 100, 500, 50
		})
		n.vm.Through(slow(2000))
		n.outage(12 * time.Hour)
		n.run()
		for range 3 {
			n.goOn(45*time.Second, never)
			n.vm.GoAway()
			n.goOn(5*time.Minute, never)
			n.check()
			n.vm.ComeBack()
			back := time.Now()
			n.waiting, n.lag, n.arrived = nil, 0, 0
			n.goOn(10*time.Minute, func() bool { return n.arrived > 0 })
			if took := time.Since(back); took > n.soon() {
				t.Errorf("the present came back after %v, want %v at most", took, n.soon())
			}
			if n.behind() == 0 {
				t.Fatal("nothing is left to send")
			}
			n.restart()
			n.check()
		}
		n.goOn(20*time.Minute, n.settled)
		if n.lag > n.soon() {
			t.Errorf("a sample took %v, want at most %v", n.lag, n.soon())
		}
		n.deliver(time.Hour)
	})
}

// TestNewest_Pruned: the present is pruned before the past is sent, and counts still prove the
// past.
func TestNewest_Pruned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNewest(t, 20, func(r *rig) {
			r.cfg.Retention = 5 * time.Minute
			r.cfg.BatchSize, r.cfg.CatchUpRows, r.cfg.CatchUpBytesPerSecond = 100, 500, 10
		})
		n.outage(12 * time.Hour)
		back := store.PackKey(n.now().UnixMilli(), 0)
		n.run()
		n.goOn(12*time.Minute, never)
		pruned, err := n.watch.Pruned(t.Context(), store.KeyRange{From: back, To: endOfTime})
		if err != nil || !pruned {
			t.Fatalf("nothing of the present was pruned: %v", err)
		}
		if n.behind() < 3000 {
			t.Fatalf("only %d samples are left", n.behind())
		}
		exports := func() (lists int) {
			for _, r := range n.vm.Requests() {
				if strings.HasSuffix(r.Path, "/export") {
					lists++
				}
			}
			return lists
		}
		before := exports()
		n.goOn(time.Hour, n.settled)
		n.deliver(time.Hour)
		if more := exports() - before; more > 3 {
			t.Errorf("%d lists of samples were read", more)
		}
	})
}

// TestNewest_Full: with a full file the oldest of the past are dropped, and the present arrives.
func TestNewest_Full(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNewest(t, 20, func(r *rig) {
			r.cfg.MaxDataBytes, r.allow.dropped, r.allow.unproven = 200<<10, true, true
			r.cfg.BatchSize, r.cfg.CatchUpRows, r.cfg.CatchUpBytesPerSecond = 200, 1000, 100
		})
		n.outage(12 * time.Hour)
		n.run()
		n.goOn(2*time.Minute, never)
		n.vm.GoAway()
		n.goOn(10*time.Minute, never)
		n.vm.ComeBack()
		n.goOn(time.Minute, never)
		n.waiting, n.lag = nil, 0
		n.goOn(time.Hour, n.settled)
		if n.counts().Dropped["size"] == 0 {
			t.Error("nothing was dropped")
		}
		if n.lag > n.soon() {
			t.Errorf("a sample took %v, want at most %v", n.lag, n.soon())
		}
		n.deliver(time.Hour)
	})
}
