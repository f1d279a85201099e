package ship

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// TestDeliver is the way without any fault.
func TestDeliver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(3, 10*time.Second)
		r.run()
		r.deliver(10 * time.Minute)
		if c := r.counts(); c.Attempts != 1 || c.Uploaded != 60 || c.Verified != 60 || c.Requeued != 0 {
			t.Errorf("counts %+v", c)
		}
		if n := len(r.vm.Requests()); n != 2 {
			t.Errorf("%d requests, want an import and a count", n)
		}
	})
}

// TestFaults answers the first import with each fault, in the pair "nothing was
// stored" and "stored", and in between. Whatever it is, at the end every sample
// is at the server once.
func TestFaults(t *testing.T) {
	t.Parallel()
	half, most := testkit.KeepFirst(30), testkit.KeepEvery(3)
	storing := []struct {
		name string
		keep testkit.Keep
	}{{"nothing stored", testkit.KeepNone}, {"half stored", half}, {"a third stored", most}, {"stored", testkit.KeepAll}}
	faults := map[string]func(keep testkit.Keep) testkit.Step{
		"204":                       testkit.AcceptSome,
		"200 without details":       func(k testkit.Keep) testkit.Step { return testkit.Step{Keep: k, Status: 200, Body: "thank you"} },
		"200 with strange JSON":     func(k testkit.Keep) testkit.Step { return testkit.Step{Keep: k, Status: 200, Body: `{"status":"ok"}`} },
		"400":                       func(k testkit.Keep) testkit.Step { return testkit.Answer(400, k) },
		"408":                       func(k testkit.Keep) testkit.Step { return testkit.Answer(408, k) },
		"422":                       func(k testkit.Keep) testkit.Step { return testkit.Answer(422, k) },
		"500":                       func(k testkit.Keep) testkit.Step { return testkit.Answer(500, k) },
		"502":                       func(k testkit.Keep) testkit.Step { return testkit.Answer(502, k) },
		"503":                       func(k testkit.Keep) testkit.Step { return testkit.Answer(503, k) },
		"503 with Retry-After":      func(k testkit.Keep) testkit.Step { s := testkit.RetryAfter(503, "40"); s.Keep = k; return s },
		"599":                       func(k testkit.Keep) testkit.Step { return testkit.Answer(599, k) },
		"reset before the body":     func(k testkit.Keep) testkit.Step { return testkit.ResetAfter(testkit.NoBody, k) },
		"reset in the body":         func(k testkit.Keep) testkit.Step { return testkit.ResetAfter(testkit.HalfBody, k) },
		"reset after the body":      func(k testkit.Keep) testkit.Step { return testkit.ResetAfter(testkit.WholeBody, k) },
		"reply cut":                 func(k testkit.Keep) testkit.Step { return testkit.CutAnswer(200, k) },
		"refusal cut":               func(k testkit.Keep) testkit.Step { return testkit.CutAnswer(400, k) },
		"no reply":                  func(k testkit.Keep) testkit.Step { return testkit.Hang(testkit.WholeBody, k) },
		"no reply to half the body": func(k testkit.Keep) testkit.Step { return testkit.Hang(testkit.HalfBody, k) },
		"reply too late":            func(k testkit.Keep) testkit.Step { return testkit.Step{Keep: k, Delay: 40 * time.Second} },
		"reply nearly too late":     func(k testkit.Keep) testkit.Step { return testkit.Step{Keep: k, Delay: 29 * time.Second} },
		"a reply without end":       func(k testkit.Keep) testkit.Step { s := testkit.AcceptHugely(3 << 20); s.Keep = k; return s },
	}
	for name, step := range faults {
		for _, s := range storing {
			t.Run(name+", "+s.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 20)
					r.ticks(3, 10*time.Second)
					r.vm.Then(step(s.keep))
					r.run()
					r.sleep(31 * time.Second)
					r.check()
					r.deliver(20 * time.Minute)
					if n := r.vm.StepsLeft(); n != 0 {
						t.Errorf("the fault never happened")
					}
					if c := r.counts(); c.Uploaded < 60 || c.Verified != int64(len(r.samples)) {
						t.Errorf("counts %+v", c)
					}
				})
			})
		}
	}
}

// TestFaults_NothingStored: where the answer rules out that anything was stored,
// nothing is read, and the same bytes go out again under the same id.
func TestFaults_NothingStored(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]testkit.Step{
		"429":                      testkit.Answer(429, testkit.KeepNone),
		"429, seconds":             testkit.RetryAfter(429, "7"),
		"429, more than a cycle's": testkit.RetryAfter(429, "600"),
		"425":                      testkit.Answer(425, testkit.KeepNone),
		"401":                      testkit.Answer(401, testkit.KeepNone),
		"403":                      testkit.Answer(403, testkit.KeepNone),
		"404":                      testkit.Answer(404, testkit.KeepNone),
		"405":                      testkit.Answer(405, testkit.KeepNone),
		"redirect":                 testkit.RedirectTo("http://other.invalid/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(3, 10*time.Second)
				r.vm.Then(step)
				r.run()
				for len(r.vm.Imports()) < 2 {
					r.sleep(time.Second)
				}
				if n := len(r.vm.Requests()); n != 2 && name != "429, more than a cycle's" {
					t.Errorf("%d requests before the second try, want 2", n)
				}
				imports := r.vm.Imports()
				if name == "429, more than a cycle's" {
					if wait := imports[1].Time.Sub(imports[0].Time); wait < 600*time.Second || wait > 20*time.Minute {
						t.Errorf("the second try came %v after the first", wait)
					}
				} else if a, b := imports[0], imports[1]; string(a.Body) != string(b.Body) || a.Header.Get("X-Chunk-Id") != b.Header.Get("X-Chunk-Id") {
					t.Errorf("the second try is another body or has another id: %q, %q", a.Header.Get("X-Chunk-Id"), b.Header.Get("X-Chunk-Id"))
				}
				if name == "429, seconds" {
					if wait := imports[1].Time.Sub(imports[0].Time); wait < 7*time.Second || wait > 9*time.Second {
						t.Errorf("Retry-After: 7 was a wait of %v", wait)
					}
				}
				r.deliver(10 * time.Minute)
			})
		})
	}
}

// TestFaults_RetryAfterDate reads the second form of Retry-After against the
// server's clock.
func TestFaults_RetryAfterDate(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 5 * time.Hour, -5 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 20)
			r.skew.Store(int64(skew))
			r.ticks(3, 10*time.Second)
			r.vm.Then(testkit.RetryAfter(429, time.Now().Add(75*time.Second).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")))
			r.run()
			for len(r.vm.Imports()) < 2 {
				r.sleep(time.Second)
			}
			imports := r.vm.Imports()
			if until := imports[1].Time.Sub(time.Date(2000, 1, 1, 0, 1, 15, 0, time.UTC)); until < -time.Second || until > 50*time.Second {
				t.Errorf("the second try came %v after Retry-After", until)
			}
			r.deliver(10 * time.Minute)
		})
	}
}

// TestNoDuplicates_LostReplies: the same batch, taken and not answered, again and again.
func TestNoDuplicates_LostReplies(t *testing.T) {
	t.Parallel()
	for _, times := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(3, 10*time.Second)
				for range times {
					r.vm.Then(testkit.ResetAfter(testkit.WholeBody, testkit.KeepEvery(2)))
				}
				r.run()
				r.deliver(30 * time.Minute)
			})
		})
	}
}

// TestChunkReplay: a chunk of which nothing can be there goes out again with the
// same rows, the same bytes and the same id, in this cycle and in the next one.
func TestChunkReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.silent = true
		r.ticks(3, 10*time.Second)
		const refused = 4 // three of the first cycle, one of the second
		for range refused {
			r.vm.Then(testkit.Answer(429, testkit.KeepNone))
		}
		r.run()
		r.deliver(10 * time.Minute)
		imports := r.vm.Imports()
		if len(imports) != refused+1 {
			t.Fatalf("%d imports, want %d", len(imports), refused+1)
		}
		first := imports[0]
		for i, again := range imports[1:] {
			if id := first.Header.Get("X-Chunk-Id"); id == "" || again.Header.Get("X-Chunk-Id") != id || string(again.Body) != string(first.Body) {
				t.Errorf("replay %d: chunk %q with %d bytes, want %q with the same %d", i+1,
					again.Header.Get("X-Chunk-Id"), len(again.Body), id, len(first.Body))
			}
		}
		if n := r.vm.Duplicates(); n != 0 {
			t.Errorf("%d samples are there twice", n)
		}
	})
}

// TestChunkReplay_AfterRestart: a chunk whose reply was lost by a kill is read back by
// the next start; where it is there, it is not sent again, else it is, whole.
func TestChunkReplay_AfterRestart(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		keep    testkit.Keep
		imports int // a witness among them
	}{"stored": {testkit.KeepAll, 1}, "not stored": {testkit.KeepNone, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(3, 10*time.Second)
				r.vm.Then(testkit.Answer(500, want.keep))
				r.atCrash(func(point string) {
					if point == "sent" && !r.dead.Load() {
						panic(killed{point})
					}
				})
				r.run()
				for !r.dead.Load() {
					r.sleep(time.Second)
				}
				r.crash.Store(nil)
				r.restart()
				r.deliver(10 * time.Minute)
				imports := r.vm.Imports()
				if len(imports) != want.imports {
					t.Fatalf("%d imports, want %d", len(imports), want.imports)
				}
				if last := imports[len(imports)-1]; string(last.Body) != string(imports[0].Body) {
					t.Errorf("the replay has %d bytes, other ones than the %d before", len(last.Body), len(imports[0].Body))
				}
				if n := r.vm.Duplicates(); n != 0 {
					t.Errorf("%d samples are there twice", n)
				}
			})
		})
	}
}

// TestChunkAtomicity_ServerError: after a 5xx no row of the chunk counts as uploaded,
// and when the server turns out to have nothing of it, all of it goes again.
func TestChunkAtomicity_ServerError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 502, 503, 504, 599} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 50)
				r.tick(r.now().Add(-time.Second))
				r.vm.Then(testkit.Answer(status, testkit.KeepNone))
				r.run()
				for len(r.vm.Imports()) == 0 {
					r.sleep(time.Second)
				}
				pending, open := r.left()
				if len(pending) != 50 || len(open) != 1 || open[0].State != store.Sending || len(open[0].Keys) != 50 {
					t.Errorf("after the error %d rows are pending, chunks %+v; want 50, one under way with all of them", len(pending), open)
				}
				r.deliver(20 * time.Minute)
				imports := r.vm.Imports() // the second one is the witness
				if len(imports) != 3 || string(imports[0].Body) != string(imports[2].Body) || imports[2].Stored != 50 {
					t.Errorf("%d imports, the last stored %d; want a last one with the same 50", len(imports), imports[len(imports)-1].Stored)
				}
			})
		})
	}
}

// TestRetry_MaxAttempts: so many tries in a cycle, with growing pauses, then none
// before the next upload; and when the server is well again, everything arrives.
func TestRetry_MaxAttempts(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) { r.cfg.Retry.MaxAttempts = most })
				r.ticks(3, 10*time.Second)
				r.vm.Otherwise(testkit.Answer(429, testkit.KeepNone))
				r.run()
				for len(r.vm.Imports()) <= most {
					r.sleep(100 * time.Millisecond)
				}
				imports := r.vm.Imports()
				for i := range most {
					wait := imports[i+1].Time.Sub(imports[i].Time)
					least, longest := time.Second<<i*8/10, time.Second<<i*12/10 // 1 s, 2 s, 4 s … ± 20 %
					if i == most-1 {
						least, longest = 20*time.Second, time.Minute // to the next cycle
					}
					if wait < least || wait > longest+100*time.Millisecond {
						t.Errorf("try %d came %v after the one before, want %v to %v", i+2, wait, least, longest)
					}
				}
				r.fine()
				r.deliver(20 * time.Minute)
			})
		})
	}
}
