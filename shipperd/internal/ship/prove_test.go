package ship

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// pass lets the device take a tick every step for a while, with the loop at work.
func (r *rig) pass(d, step time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		r.sleep(step)
		r.tick(r.now())
	}
}

// live is pass with the checker at its end.
func (r *rig) live(d, step time.Duration) {
	r.t.Helper()
	r.pass(d, step)
	r.check()
}

// TestServerRestarts: a killed VictoriaMetrics forgets up to ten seconds of what
// it answered 204 to. Verification brings them back, and as the server was seen
// to go, that does not count against the samples.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	for _, down := range []time.Duration{0, 2 * time.Second, time.Hour} {
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) { r.cfg.Verify.MaxResends = 0 }) // one that counts is one too many
				r.run()
				lost := 0
				for range 20 {
					r.sleep(time.Second) // the last tick was of this moment
					r.tick(r.now())
					before := len(r.vm.Imports())
					for len(r.vm.Imports()) == before {
						r.sleep(time.Second)
					}
					r.vm.GoAway()
					r.sleep(down)
					lost += r.vm.Restart(10*time.Second + down)
					r.live(time.Minute, 10*time.Second)
				}
				r.deliver(time.Hour)
				if c := r.counts(); lost == 0 || c.Requeued < int64(lost) {
					t.Errorf("the server lost %d samples, %d were sent again", lost, c.Requeued)
				}
			})
		})
	}
}

// TestServerGone: minutes, then half an hour without a server, in the ways a server can
// be gone.
func TestServerGone(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(r *rig) (back func()){
		"refused":    func(r *rig) func() { r.vm.GoAway(); return r.vm.ComeBack },
		"503":        func(r *rig) func() { r.vm.Otherwise(testkit.Answer(503, testkit.KeepNone)); return r.fine },
		"502 stored": func(r *rig) func() { r.vm.Otherwise(testkit.Answer(502, testkit.KeepAll)); return r.fine },
		"hangs": func(r *rig) func() {
			r.vm.Otherwise(testkit.Hang(testkit.WholeBody, testkit.KeepNone))
			return r.fine
		},
		"resets": func(r *rig) func() {
			r.vm.Otherwise(testkit.ResetAfter(testkit.HalfBody, testkit.KeepEvery(2)))
			return r.fine
		},
		"429": func(r *rig) func() { r.vm.Otherwise(testkit.RetryAfter(429, "600")); return r.fine },
		"login page": func(r *rig) func() {
			page := testkit.Step{Keep: testkit.KeepNone, Status: 200, Header: map[string][]string{"Content-Type": {"text/html"}}, Body: "<html>log in"}
			r.vm.Otherwise(page)
			return r.fine
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.run()
				r.live(5*time.Minute, 10*time.Second)
				for _, d := range []time.Duration{5 * time.Minute, 30 * time.Minute} {
					back := gone(r)
					r.live(d, d/100)
					back()
					r.live(10*time.Minute, 10*time.Second)
				}
				r.deliver(time.Hour)
				r.letters(0, "", "")
				r.has("uploads work again")
			})
		})
	}
}

func (r *rig) fine() { r.vm.Otherwise(testkit.Accept()) }

// TestThrowsAway: a server that answers 204 and stores nothing of some samples
// gets them MaxResends times more, with growing pauses; then they are dead
// letters.
func TestThrowsAway(t *testing.T) {
	t.Parallel()
	for _, resends := range []int{0, 1, 5} {
		t.Run(fmt.Sprint(resends), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) { r.cfg.Verify.MaxResends = resends })
				r.ticks(3, 10*time.Second)
				bad := r.samples[0].series
				r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Series != bad }))
				r.allow.letters = func(s sample) bool { return s.series == bad }
				r.run()
				r.deliver(2 * time.Hour)
				r.letters(3, "not_stored", fmt.Sprintf("accepted %d times", resends+1))
				var times []time.Time
				for _, req := range r.vm.Imports() {
					times = append(times, req.Time)
				}
				if len(times) != resends+1 {
					t.Errorf("sent %d times, want %d", len(times), resends+1)
				}
				for i := 2; i < len(times); i++ {
					if a, b := times[i-1].Sub(times[i-2]), times[i].Sub(times[i-1]); i > 2 && b < a {
						t.Errorf("pauses %v, then %v", a, b)
					}
				}
			})
		})
	}
}

var asJSON = map[string][]string{"Content-Type": {"application/json"}}

// TestDetails: a server that tells line by line what it took is taken by its
// word.
func TestDetails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 50)
		r.tick(r.now().Add(-time.Second))
		odd := testkit.AcceptSamples(func(s testkit.Sample) string {
			if int(s.Value)%2 == 0 {
				return "no even ones today"
			}
			return ""
		})
		odd.Header = asJSON
		r.vm.Then(odd)
		r.allow.letters = func(s sample) bool { return true }
		r.run()
		r.deliver(10 * time.Minute)
		r.letters(25, "rejected", "no even ones today")
		if c := r.counts(); c.Uploaded != 25 || c.Partial != 1 {
			t.Errorf("counts %+v", c)
		}
		if n := len(r.vm.Imports()); n != 1 {
			t.Errorf("%d imports, want 1", n)
		}
	})
}

// TestDetails_AnotherTime: what the server may take another time is sent again.
func TestDetails_AnotherTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 50)
		r.tick(r.now().Add(-time.Second))
		busy := testkit.AcceptLines(func(line string) string {
			if lineWith(1, 2, 3)(line) {
				return "too many new series"
			}
			return ""
		})
		busy.Header = asJSON
		busy.Details = func(accepted int, refused []testkit.LineResult) string {
			for i := range refused {
				refused[i].Retry = true
			}
			return testkit.ReceiverDetails(accepted, refused)
		}
		none := busy
		none.Refuse = func(string, testkit.Sample) string { return "closed" }
		r.vm.Then(none, busy, busy)
		r.run()
		r.deliver(10 * time.Minute)
		r.letters(0, "", "")
		if n := len(r.vm.Imports()); n != 4 {
			t.Errorf("%d imports, want 4", n)
		}
	})
}

// TestDetails_Contradictory: details that do not fit the body say nothing, so the
// server is asked.
func TestDetails_Contradictory(t *testing.T) {
	t.Parallel()
	for _, details := range []string{
		`{"accepted":1,"rejected":0,"lines":[]}`, `{"accepted":59,"rejected":1,"lines":[{"line":99,"reason":"x"}]}`,
		`{"accepted":-1,"rejected":0}`, `{"accepted":58`, `{"accepted":60,"rejected":1,"lines":[{"line":1,"reason":"x","timestamps":[1]}]}`,
	} {
		for _, keep := range []testkit.Keep{testkit.KeepAll, testkit.KeepNone, testkit.KeepEvery(2)} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(3, 10*time.Second)
				r.vm.Then(testkit.Step{Keep: keep, Status: 200, Header: asJSON, Body: details})
				r.run()
				r.deliver(20 * time.Minute)
				r.letters(0, "", "")
			})
		}
	}
}

// TestUnverified: with verification off delivery is at least once, nothing is
// lost, nobody is asked.
func TestUnverified(t *testing.T) {
	t.Parallel()
	for _, keep := range []testkit.Keep{testkit.KeepNone, testkit.KeepEvery(2), testkit.KeepAll} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 20, func(r *rig) { r.cfg.Verify.Enabled = false; r.allow.doubles = true })
			r.ticks(3, 10*time.Second)
			for _, status := range []int{500, 400, 503, 408} {
				r.vm.Then(testkit.Answer(status, keep))
			}
			r.vm.Then(testkit.ResetAfter(testkit.WholeBody, keep), testkit.Hang(testkit.WholeBody, keep))
			r.run()
			time.Sleep(10 * time.Second) // the last tick was of this moment
			r.live(10*time.Minute, 10*time.Second)
			r.deliver(time.Hour)
			for _, req := range r.vm.Requests() {
				if !strings.HasSuffix(req.Path, "/import") {
					t.Errorf("asked %s", req.Path)
				}
			}
			if !r.shipper.Stats.Snapshot().Unproven {
				t.Error("nobody is told that delivery is unproven")
			}
		})
	}
}

// refuseReads answers the next n questions with a status.
func (r *rig) refuseReads(n, status int) {
	for range n {
		r.vm.ThenRead(testkit.Answer(status, nil))
	}
}

// TestWriteOnly: credentials that may write but not read are believed after three
// refusals, and again and again; once they may read, everything is proven.
func TestWriteOnly(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.refuseReads(20, status)
				r.run()
				for !r.shipper.Stats.Snapshot().Unproven {
					r.live(10*time.Second, 10*time.Second)
					if time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) > 2*time.Hour {
						t.Fatal("it is never believed")
					}
				}
				r.has("the server can be written but not read")
				r.live(time.Hour, 10*time.Second)
				if asked := 20 - r.vm.StepsLeft(); asked > 16 {
					t.Errorf("asked %d times", asked)
				}
				r.refuseReads(-1, 0)
				for r.vm.StepsLeft() > 0 { // the credentials are mended
					r.vm.ThenRead()
					r.live(10*time.Minute, 10*time.Second)
				}
				r.live(20*time.Minute, 10*time.Second)
				if r.shipper.Stats.Snapshot().Unproven {
					t.Error("still unproven")
				}
				r.deliver(time.Hour)
				if n := strings.Count(r.log.String(), "the server can be written but not read"); n != 1 {
					t.Errorf("said %d times, want once", n)
				}
			})
		})
	}
}

// TestTokenRevoked: a token that neither reads nor writes any more is not one
// that only writes. Nothing is sent twice, nothing counts as verified.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		token := filepath.Join(t.TempDir(), "token")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(token, []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("first")
		r := newRig(t, 20, func(r *rig) { r.client.Token = victoria.TokenFile(token) })
		r.vm.RequireToken("first")
		r.run()
		r.live(10*time.Minute, 10*time.Second)
		verified := r.counts().Verified

		r.vm.RequireToken("second")
		r.live(5*time.Hour, time.Minute)
		if c := r.shipper.Stats.Snapshot(); c.Unproven || c.Verified != verified {
			t.Errorf("unproven %v, %d verified, before %d", c.Unproven, c.Verified, verified)
		}
		if n := len(r.vm.Requests()); n > 1500 {
			t.Errorf("%d requests", n)
		}
		write("second") // it heals without a restart
		r.live(5*time.Minute, 10*time.Second)
		r.deliver(30 * time.Minute)
		for _, secret := range []string{"first", "second"} {
			if strings.Contains(strings.ReplaceAll(r.log.String(), "first try", ""), "Bearer "+secret) {
				t.Errorf("the log shows a token")
			}
		}
	})
}

// noCount is a server without a query endpoint, as the project's receiver.
type noCount struct{ Server }

func (noCount) Count(context.Context, victoria.Selector, int64, int64) (int64, error) {
	return 0, &victoria.Error{Class: victoria.ClassAuth, Status: 404, Err: victoria.ErrNotSupported}
}

// TestNoQueries: the export settles what a count cannot.
func TestNoQueries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.shipper.Server = noCount{r.http}
		r.vm.Then(testkit.AcceptSome(testkit.KeepEvery(2)), testkit.Answer(500, testkit.KeepAll), testkit.AcceptSome(testkit.KeepNone))
		r.run()
		r.live(20*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}

// TestCountTooMuch: a count that the server finds too expensive is taken in
// smaller parts, at last as an export.
func TestCountTooMuch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.refuseReads(3, 422)
		r.run()
		r.live(20*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}

// TestReadsFail: questions that fail for hours hold up no upload; a list that was
// read in part is read on.
func TestReadsFail(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]testkit.Step{
		"500": testkit.Answer(500, nil), "reset": testkit.ResetAfter(testkit.WholeBody, nil),
		"cut": {Reply: testkit.CutReply}, "hang": testkit.Hang(testkit.WholeBody, nil),
		"garbage": {Status: 200, Body: "{\"metric\":"}, "web page": {Status: 200, Header: map[string][]string{"Content-Type": {"text/html"}}, Body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.vm.Then(testkit.Answer(500, testkit.KeepEvery(3)), testkit.AcceptSome(testkit.KeepEvery(2)))
				for range 100 {
					r.vm.ThenRead(step)
				}
				r.run()
				r.live(time.Hour, 10*time.Second)
				if c := r.counts(); c.Uploaded < 6000 {
					t.Errorf("%d uploaded while nothing could be read", c.Uploaded)
				}
				if r.shipper.Stats.Snapshot().Unproven {
					t.Error("a failure is no refusal")
				}
				for r.vm.StepsLeft() > 0 {
					r.live(time.Hour, time.Minute)
				}
				r.deliver(time.Hour)
				r.has("reading back works again")
			})
		})
	}
}

// TestThinning: a server that keeps one sample of several, by its own will, gets
// each sample twice at most, and none becomes a dead letter.
func TestThinning(t *testing.T) {
	t.Parallel()
	for _, keep := range []time.Duration{5 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 4)
				kept := func(ms int64) bool { return ms%keep.Milliseconds() == 0 }
				r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return kept(s.Timestamp) }))
				r.allow.lost = func(s sample) bool { return !kept(s.key.TimestampMS()) }
				r.allow.doubles = true // the kept one of a chunk that was sent again
				r.run()
				r.live(max(40*time.Minute, 24*keep), time.Second)
				r.deliver(time.Hour)
				r.letters(0, "", "")
				c := r.counts()
				if c.Thinned == 0 || c.Requeued > c.Thinned {
					t.Errorf("%d requeued, %d thinned", c.Requeued, c.Thinned)
				}
				r.has(fmt.Sprintf("interval_seconds=%v\n", keep.Seconds()))
				if !r.shipper.Stats.Snapshot().Thinning {
					t.Error("nobody is told")
				}
			})
		})
	}
}

// TestThinning_Crash: what a killed server forgot is not taken for thinned.
func TestThinning_Crash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		kept := func(ms int64) bool { return ms%10_000 == 0 }
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return kept(s.Timestamp) }))
		r.allow.lost = func(s sample) bool { return !kept(s.key.TimestampMS()) }
		r.allow.doubles = true
		r.run()
		r.live(30*time.Minute, time.Second)
		for range 20 {
			before := len(r.vm.Imports())
			for len(r.vm.Imports()) == before {
				r.pass(time.Second, time.Second)
			}
			r.vm.Restart(10 * time.Second)
			r.live(2*time.Minute, time.Second)
		}
		r.deliver(2 * time.Hour)
	})
}

// TestThinning_Ends: one that no longer thins is believed no longer.
func TestThinning_Ends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		var ended int64
		kept := func(ms int64) bool { return ended > 0 || ms%10_000 == 0 }
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return kept(s.Timestamp) }))
		r.allow.doubles = true
		r.allow.lost = func(s sample) bool { return ended == 0 || s.key.TimestampMS() <= ended }
		r.run()
		r.live(20*time.Minute, time.Second)
		if !r.shipper.Stats.Snapshot().Thinning {
			t.Error("it was not found out")
		}
		ended = r.now().UnixMilli()
		for range 10 {
			before := len(r.vm.Imports())
			for len(r.vm.Imports()) == before {
				r.pass(time.Second, time.Second)
			}
			r.vm.Restart(10 * time.Second)
			r.live(time.Minute, time.Second)
		}
		r.deliver(2 * time.Hour)
		if r.shipper.Stats.Snapshot().Thinning {
			t.Error("it is still believed")
		}
	})
}

// TestThinning_SlowLink: where the questions about thinning never get through, the
// rest goes on.
func TestThinning_SlowLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const gone = 17
		r := newRig(t, 20)
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Value != gone }))
		r.allow.letters = func(s sample) bool { return s.key == r.samples[gone-1].key && s.series == r.samples[gone-1].series }
		narrow := &narrowServer{Server: r.shipper.Server}
		r.shipper.Server = narrow
		r.run()
		r.live(3*time.Hour, time.Minute)
		if l := r.readFile(t.Context()).ledger; l.Accepted > 200 || narrow.wide == 0 || narrow.wide > 100 {
			t.Errorf("%d wide questions, %d samples accepted and not proven", narrow.wide, l.Accepted)
		}
	})
}

// narrowServer lets no answer through that spans more than ten minutes.
type narrowServer struct {
	Server
	wide int
}

func (n *narrowServer) Export(ctx context.Context, sel victoria.Selector, startMS, endMS int64, each func([]store.Tag, []int64) error) error {
	if endMS-startMS > (10 * time.Minute).Milliseconds() {
		n.wide++
		return &victoria.Error{Class: victoria.ClassTimeout, Err: errors.New("no answer in time")}
	}
	return n.Server.Export(ctx, sel, startMS, endMS, each)
}

// TestThinning_Lossy: a server that never stores one tick, between others that it
// stores, does not thin. Nothing is lost without a word.
func TestThinning_Lossy(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{10 * time.Second, time.Minute, 4 * time.Minute} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 4)
				r.run()
				r.live(time.Hour, step)
				lost := r.now().Add(step).UnixMilli()
				r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Timestamp != lost }))
				r.allow.letters = func(s sample) bool { return s.key.TimestampMS() == lost }
				r.live(6*time.Hour, step)
				r.deliver(time.Hour)
				r.letters(4, "not_stored", "")
				if c := r.counts(); c.Thinned != 0 {
					t.Errorf("%d thinned", c.Thinned)
				}
			})
		})
	}
}

// TestDedup: a server that thins hides from all readers what it leaves out, long
// before it deletes it.
func TestDedup(t *testing.T) {
	t.Parallel()
	for keep, step := range map[time.Duration]time.Duration{10 * time.Second: time.Second, 15 * time.Minute: 10 * time.Second} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 4, func(r *rig) {
					r.vm = testkit.StartFakeVM(t, testkit.FakeConfig{InMemory: true, VisibleAfter: 2 * time.Second, Poison: 11 * time.Second, Dedup: keep})
					r.client.Dial = r.vm.Dial
				})
				r.allow.doubles = true // which nobody sees
				r.run()
				r.live(max(20*time.Minute, 12*keep), step)
				r.deliver(3 * time.Hour)
				r.letters(0, "", "")
				c := r.counts()
				t.Logf("%d samples, %d requeued, %d thinned", len(r.samples), c.Requeued, c.Thinned)
				if c.Thinned == 0 || c.Requeued > 4*int64(len(r.samples)) {
					t.Errorf("%d requeued, %d thinned of %d", c.Requeued, c.Thinned, len(r.samples))
				}
			})
		})
	}
}

// TestSameName: two series that become one at the server are both delivered.
func TestSameName(t *testing.T) {
	t.Parallel()
	for _, keep := range []testkit.Keep{testkit.KeepAll, testkit.KeepNone, testkit.KeepFirst(3)} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 1)
			r.series = append(r.series, store.NewSeries("dev", "a.b", store.Number), store.NewSeries("dev", "a_b", store.Number))
			for range 3 {
				r.insert(r.now().Add(-2*time.Second), r.series[0], r.series[1])
				r.insert(r.now().Add(-time.Second), r.series[2])
				r.sleep(10 * time.Second)
			}
			r.vm.Then(testkit.Answer(500, keep))
			r.run()
			r.deliver(time.Hour)
		})
	}
}
