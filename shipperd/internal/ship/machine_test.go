package ship

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// until lets time pass until some chunk is in a state.
func (r *rig) until(want state) *store.Chunk {
	r.t.Helper()
	for start := time.Now(); time.Since(start) < 4*time.Hour; r.sleep(time.Second) {
		for _, c := range r.openChunks() {
			if s, ok := r.states.Load(c.ID); ok && s == want {
				return c
			}
		}
	}
	r.t.Fatalf("no chunk is %s in four hours", want)
	return nil
}

// vanish takes the rows of a chunk out of the file, as damage or an operator may.
func (r *rig) vanish(c *store.Chunk) {
	r.t.Helper()
	gone := map[store.Key]bool{}
	var rejected []store.Rejection
	for _, k := range c.Keys {
		gone[k] = true
		rejected = append(rejected, store.Rejection{Key: k, Reason: "test"})
	}
	before := r.allow.deadLetters
	r.allow.deadLetters = func(s sample) bool { return gone[s.key] || before != nil && before(s) }
	if err := r.watch.MoveToDeadLetters(r.t.Context(), rejected); err != nil {
		r.t.Fatal(err)
	}
	r.allow.retried -= int64(len(rejected))
}

// die ends the loop at a crash point, and starts a new one.
func (r *rig) die(point string) {
	r.t.Helper()
	r.atCrash(func(at string) {
		if at == point && !r.dead.Load() {
			panic(killed{at})
		}
	})
	for !r.dead.Load() {
		r.sleep(time.Second)
	}
	r.crash.Store(nil)
	r.restart()
}

// hold keeps imports back while it is shut; each is answered 204 at once.
func hold(q *queue) func(r *rig) {
	return func(r *rig) { r.vm.Through(q.front(0)) }
}

// ways are lives of a device that together take every transition.
var ways = map[string]func(r *rig){
	"well":      func(r *rig) {},
	"429":       func(r *rig) { r.vm.Then(testkit.Answer(429, testkit.KeepNone)) },
	"lost 2xx":  func(r *rig) { r.vm.Then(testkit.ResetAfter(testkit.WholeBody, testkit.KeepAll)) },
	"forgotten": func(r *rig) { r.vm.Then(testkit.AcceptSome(testkit.KeepNone)) },
	"hang":      func(r *rig) { r.vm.Then(testkit.Hang(testkit.WholeBody, testkit.KeepNone)) },
	"bad sample": func(r *rig) {
		r.refuses(false, 7)
		r.run()
		r.live(time.Hour, 30*time.Second)
	},
	"413": func(r *rig) {
		r.series = r.series[:1]
		r.vm.Then(testkit.Answer(413, testkit.KeepNone), testkit.Answer(413, testkit.KeepNone), testkit.Answer(413, testkit.KeepNone))
	},
	"413 to everything": func(r *rig) {
		r.vm.LimitBody(20)
		r.run()
		r.sleep(10 * time.Minute)
		r.vm.LimitBody(0)
	},
	"all refused": func(r *rig) {
		r.allow.deadLetters = func(s sample) bool { return slices.Contains(r.samples[:3*len(r.series)], s) }
		step := testkit.AcceptLines(func(string) string { return "not these" })
		step.Header = asJSON
		r.vm.Then(step)
	},
	"witness at the first read": func(r *rig) {
		r.run()
		r.deliver(10 * time.Minute)
		r.vm.Then(testkit.AcceptSome(testkit.KeepNone))
		r.tick(r.now())
		r.until(accepted)
		r.tick(r.now().Add(-time.Hour)) // sent later, and read first
		r.sleep(20 * time.Minute)
	},
	"in doubt, and a witness at the first read": func(r *rig) {
		r.vm.Then(testkit.Hang(testkit.WholeBody, testkit.KeepNone))
		r.run()
		r.until(inDoubt)
		r.refuseReads(20, 500)
		r.tick(r.now().Add(-time.Hour))
		r.live(time.Hour, time.Minute)
	},
	"late": func(r *rig) {
		q := &queue{shut: true}
		hold(q)(r)
		r.run()
		r.until(unseen)
		r.sleep(5 * time.Minute)
		q.open(r.vm, fifo, 0)
	},
	"overtaken": func(r *rig) {
		q := &queue{shut: true}
		hold(q)(r)
		r.run()
		r.until(unseen)
		q.mu.Lock()
		q.shut = false
		q.mu.Unlock()
		r.tick(r.now()) // overtakes
		r.until(missing)
		q.open(r.vm, fifo, 0)
	},
	"some series have ended": func(r *rig) {
		r.vm.Then(testkit.AcceptSome(testkit.KeepFirst(3)))
		r.run()
		r.until(accepted)
		r.series = r.series[:2]
		r.live(4*time.Hour, time.Minute)
	},
	"a series never shows": func(r *rig) {
		bad := r.samples[0].series
		r.allow.deadLetters = func(s sample) bool { return s.series == bad }
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Series != bad }))
		r.run()
		r.live(3*time.Hour, time.Minute)
		r.fine()
		r.live(10*time.Minute, time.Minute)
	},
	"thrown away again and again": func(r *rig) {
		r.cfg.Verify.MaxResends = 1
		r.wire()
		r.allow.deadLetters = func(s sample) bool { return s == r.samples[2] }
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Value != 3 }))
		r.run()
		r.live(time.Hour, time.Minute)
	},
	"off": func(r *rig) {
		r.cfg.Verify.Enabled, r.allow.doubles = false, true
		r.wire()
		r.vm.Then(testkit.ResetAfter(testkit.WholeBody, testkit.KeepEvery(2)))
	},
	"killed before the answer": func(r *rig) { r.run(); r.die("sent") },
	"killed after the mark":    func(r *rig) { r.run(); r.die("marked") },
	"killed when lost": func(r *rig) {
		r.vm.Then(testkit.Answer(400, testkit.KeepFirst(4)))
		r.run()
		r.die("requeued")
	},
}

func init() {
	// The file gets full while the reads fail, in each state that may be freed.
	for _, s := range []state{accepted, missing, unseen} {
		ways["full while "+s.String()] = func(r *rig) {
			r.cfg.MaxDataBytes, r.allow.unproven = 1, true
			r.allow.lost = func(s sample) bool { return slices.Contains(r.samples[:12], s) } // never stored
			r.cfg.UploadInterval = 2 * time.Second
			r.wire()
			r.vm.Then(testkit.AcceptSome(testkit.KeepNone))
			if s == accepted {
				r.vm.Through(func(w http.ResponseWriter, req *http.Request, server http.Handler) {
					if isImport(req) {
						server.ServeHTTP(w, req)
						return
					}
					w.WriteHeader(http.StatusForbidden)
				})
			}
			r.shipper.budgetAfter = time.Now().Add(24 * time.Hour)
			r.run()
			if s == missing {
				r.until(unseen)
				r.tick(r.now())
			}
			r.until(s)
			r.inLoop(func(s *Shipper) { s.budgetAfter = time.Time{} })
			r.sleep(2 * time.Minute)
			r.vm.Through(nil)
			r.cfg.MaxDataBytes = 0
			r.restart()
		}
	}
	// The rows of a chunk vanish from the file, in each state.
	for s, step := range map[state]testkit.Step{
		recorded: testkit.RetryAfter(429, "100"), inDoubt: testkit.Hang(testkit.WholeBody, testkit.KeepNone),
		accepted: testkit.AcceptSome(testkit.KeepNone), unseen: testkit.AcceptSome(testkit.KeepNone),
		missing: testkit.AcceptSome(testkit.KeepNone), owed: testkit.AcceptSome(testkit.KeepNone),
	} {
		ways["gone while "+s.String()] = func(r *rig) {
			r.vm.Then(step)
			r.shipper.Server = noCount{r.http}
			r.run()
			if s == missing || s == owed {
				r.until(unseen)
				if s == owed {
					r.tick(r.now())
					r.until(missing)
					r.vm.GoAway() // what is owed waits
					r.vm.ComeBack()
					r.inLoop(func(s *Shipper) { s.notBefore = time.Now().Add(time.Hour) })
				} else {
					r.tick(r.now())
				}
			}
			r.vanish(r.until(s))
		}
	}
}

// TestMachine_EveryTransition: the ways above take every transition of the table, and at the end of
// each all is delivered.
func TestMachine_EveryTransition(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[step]bool{}
	t.Run("ways", func(t *testing.T) {
		for name, way := range ways {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 4)
					r.ticks(3, 10*time.Second)
					r.alsoMoved = func(s step) {
						mu.Lock()
						defer mu.Unlock()
						seen[s] = true
					}
					way(r)
					if r.stop == nil {
						r.run()
					}
					r.deliver(8 * time.Hour)
				})
			})
		}
	})
	for _, tr := range transitions {
		if !seen[step{tr.from, tr.on, tr.to}] {
			t.Errorf("%s on %q to %s was never taken", tr.from, tr.on, tr.to)
		}
	}
}

// TestMachine_Table: states are reached and left, names are there, and DESIGN.md has them all.
func TestMachine_Table(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	into, out := map[state]bool{}, map[state]bool{}
	happens := map[event]bool{}
	once := map[step]bool{}
	for _, tr := range transitions {
		into[tr.to], out[tr.from], happens[tr.on] = true, true, true
		if s := (step{tr.from, tr.on, tr.to}); once[s] {
			t.Errorf("%v stands twice", tr)
		} else {
			once[s] = true
		}
		if tr.from.settled() || (tr.writes == "") != (tr.crash == "") && tr.from != sending && tr.to != sending && tr.on != evAssumed {
			t.Errorf("%s on %q: writes %q, crash window %q", tr.from, tr.on, tr.writes, tr.crash)
		}
	}
	for s := recorded; s < states; s++ {
		if !into[s] || out[s] == s.settled() || !strings.Contains(string(text), s.String()) {
			t.Errorf("%s: reached %v, left %v, in DESIGN.md %v", s, into[s], out[s], strings.Contains(string(text), s.String()))
		}
	}
	for e := range events {
		if !happens[e] || e.String() == "" {
			t.Errorf("event %d, %q, never happens", e, e)
		}
	}
}

// TestMachine_Model walks at random through everything that may happen to a device, with kills and
// power cuts at any moment, and looks at the file and the server after each step. rapid finds the
// shortest way to a failure.
func TestMachine_Model(t *testing.T) {
	t.Parallel()
	points := []string{"recorded", "sent", "marked", "narrowed", "split", "requeued", "verified"}
	keeps := []testkit.Keep{testkit.KeepAll, testkit.KeepNone, testkit.KeepEvery(2), testkit.KeepFirst(5)}
	rapid.Check(t, func(rt *rapid.T) {
		type act struct{ what, how, keep int }
		acts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
			return act{rapid.IntRange(0, 11).Draw(t, "what"), rapid.IntRange(0, 99).Draw(t, "how"), rapid.IntRange(0, len(keeps)-1).Draw(t, "keep")}
		}), 1, 12).Draw(rt, "acts")
		newestFirst := rapid.Bool().Draw(rt, "newest first")
		var failed string
		synctest.Test(t, func(t *testing.T) {
			tb := &recorder{TB: t}
			defer func() {
				if v := recover(); v != nil && v != errStopped {
					panic(v)
				}
				failed = tb.text
			}()
			r := newRig(tb, 6, func(r *rig) {
				r.cfg.Verify.MaxResends, r.cfg.NewestFirst, r.file.BusyTimeout = 1000, newestFirst, 20*time.Millisecond
				r.chunks.MaxMetrics = 2 // so three chunks share a request
			})
			r.power = true
			r.run()
			power := true
			for _, a := range acts {
				keep := keeps[a.keep]
				switch a.what {
				case 0, 1:
					r.tick(r.now())
				case 2:
					r.insert(r.now(), r.series[:1+a.how%5]...)
				case 3:
					r.vm.Then([]testkit.Step{
						testkit.AcceptSome(keep), testkit.Answer(500, keep), testkit.Answer(400, keep), testkit.ResetAfter(testkit.WholeBody, keep),
						testkit.Hang(testkit.HalfBody, keep), testkit.CutAnswer(200, keep), testkit.Answer(413, testkit.KeepNone),
						testkit.Answer(429, testkit.KeepNone), testkit.Answer(401, testkit.KeepNone),
						{Status: 200, Keep: testkit.KeepAll},
					}[a.how%10])
				case 4:
					r.vm.ThenRead([]testkit.Step{
						testkit.Answer(500, nil), testkit.Answer(422, nil), testkit.Answer(403, nil), testkit.Hang(testkit.WholeBody, nil),
						{Reply: testkit.CutReply},
						{Status: 200, Body: "<html>"},
					}[a.how%6])
				case 5, 10: // killed at the next time of a point, or without power
					power = a.what == 5
					point := points[a.how%len(points)]
					r.atCrash(func(at string) {
						if at == point && !r.dead.Load() {
							panic(killed{at})
						}
					})
				case 6:
					r.vm.Restart(time.Duration(a.how%11) * time.Second)
				case 7:
					r.sleep([]time.Duration{time.Second, 20 * time.Second, 4 * time.Minute, 3 * time.Hour}[a.how%4])
				case 8:
					r.restart()
				case 11:
					r.cut()
				case 9:
					r.vm.Through(func(w http.ResponseWriter, req *http.Request, server http.Handler) {
						if _, err := io.Copy(io.Discard, req.Body); err == nil {
							w.WriteHeader([]int{200, 302, 404, 101}[a.how%4])
						}
					})
					r.sleep(time.Duration(a.how) * time.Second)
					r.vm.Through(nil)
				}
				r.sleep(time.Duration(1+a.how) * time.Second)
				if r.dead.Load() {
					r.crash.Store(nil)
					if power {
						r.restart()
					} else {
						r.cut()
					}
					r.dead.Store(false)
				}
				r.check()
			}
			r.crash.Store(nil)
			for start := time.Now(); r.vm.StepsLeft() > 0; r.sleep(time.Minute) {
				if time.Since(start) > 24*time.Hour {
					r.t.Fatalf("%d answers are still to come", r.vm.StepsLeft())
				}
				r.tick(r.now())
			}
			r.deliver(24 * time.Hour)
		})
		if failed != "" {
			rt.Fatalf("%s", failed)
		}
	})
}

// recorder keeps what fails, for rapid to try again with less.
type recorder struct {
	testing.TB
	text string
}

var errStopped = fmt.Errorf("stopped")

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { r.text += fmt.Sprintf(format, args...) + "\n" }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(errStopped)
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }
