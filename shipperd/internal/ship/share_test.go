package ship

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// sharing is a device whose first upload is one request with four chunks of five lines.
func sharing(t *testing.T) *rig {
	r := newRig(t, 20, func(r *rig) { r.chunks.MaxMetrics = 5 })
	r.ticks(3, 10*time.Second)
	return r
}

// firstImport waits for the first import, and checks that the four chunks shared it.
func (r *rig) firstImport() testkit.Request {
	r.t.Helper()
	for len(r.vm.Imports()) == 0 {
		r.sleep(100 * time.Millisecond)
	}
	first := r.vm.Imports()[0]
	if id := first.Header.Get("X-Chunk-Id"); !strings.HasSuffix(id, "/0-3") {
		r.t.Errorf("the first request has the id %q, want chunks 0 to 3", id)
	}
	return first
}

// TestShared: the chunks of an upload share a request, and each has its record and is proven.
func TestShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := sharing(t)
		r.run()
		if first := r.firstImport(); len(first.Lines) != 20 {
			t.Errorf("%d lines, want 20", len(first.Lines))
		}
		bytes := 0
		open := r.openChunks()
		for _, c := range open {
			bytes += c.Bytes
			if c.State != store.Accepted || len(c.Keys) != 15 || c.Attempts != 1 || c.HTTPStatus != 204 {
				t.Errorf("chunk %+v, want it accepted with 15 rows", c)
			}
		}
		if len(open) != 4 || bytes != len(r.vm.Imports()[0].Body) {
			t.Errorf("%d chunks, their shares make %d bytes, the body has %d", len(open), bytes, len(r.vm.Imports()[0].Body))
		}
		r.deliver(10 * time.Minute)
		if c := r.counts(); c.Attempts != 1 || c.Uploaded != 60 || c.Verified != 60 {
			t.Errorf("counts %+v", c)
		}
		if n := len(r.vm.Requests()); n != 2 {
			t.Errorf("%d requests, want an import and a count", n)
		}
	})
}

// TestShared_Faults: each fault of a request with several chunks, with nothing, some and all of it
// stored; some is two chunks, or two and a half, or a part of each.
func TestShared_Faults(t *testing.T) {
	t.Parallel()
	storing := map[string]testkit.Keep{
		"nothing": testkit.KeepNone, "two chunks": testkit.KeepFirst(30), "half": testkit.KeepFirst(37), "some of each": testkit.KeepEvery(4), "all": testkit.KeepAll,
	}
	faults := map[string]func(testkit.Keep) testkit.Step{
		"204":                  testkit.AcceptSome,
		"400":                  func(k testkit.Keep) testkit.Step { return testkit.Answer(400, k) },
		"500":                  func(k testkit.Keep) testkit.Step { return testkit.Answer(500, k) },
		"503 with Retry-After": func(k testkit.Keep) testkit.Step { s := testkit.RetryAfter(503, "40"); s.Keep = k; return s },
		"reset in the body":    func(k testkit.Keep) testkit.Step { return testkit.ResetAfter(testkit.HalfBody, k) },
		"reset after the body": func(k testkit.Keep) testkit.Step { return testkit.ResetAfter(testkit.WholeBody, k) },
		"reply cut":            func(k testkit.Keep) testkit.Step { return testkit.CutAnswer(200, k) },
		"no reply":             func(k testkit.Keep) testkit.Step { return testkit.Hang(testkit.WholeBody, k) },
	}
	for name, step := range faults {
		for stored, keep := range storing {
			t.Run(name+", stored "+stored, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := sharing(t)
					r.vm.Then(step(keep))
					r.run()
					r.firstImport()
					r.deliver(20 * time.Minute)
					r.deadLetters(0, "", "")
				})
			})
		}
	}
}

// TestShared_NothingStored: where the answer rules out that anything was stored, nothing is read
// before the chunks go out again.
func TestShared_NothingStored(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 413, 429} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := sharing(t)
				r.silent = true
				r.vm.Then(testkit.Answer(status, testkit.KeepNone))
				r.run()
				r.firstImport()
				for stored := 0; stored < 60; r.sleep(time.Second) {
					stored = 0
					for _, req := range r.vm.Imports() {
						stored += req.Stored
					}
				}
				imports := r.vm.Imports()
				if n := len(r.vm.Requests()) - len(imports); n != 0 {
					t.Errorf("%d reads before all was sent", n)
				}
				if want := map[int]int{401: 5, 413: 5, 429: 2}[status]; len(imports) != want {
					t.Errorf("%d imports, want %d", len(imports), want)
				}
				r.deliver(20 * time.Minute)
			})
		})
	}
}

// TestShared_Refused: a 400 to a request says nothing of a single chunk of it: each goes out alone
// first, and the one that is refused again is halved.
func TestShared_Refused(t *testing.T) {
	t.Parallel()
	for _, keepFirst := range []bool{false, true} {
		t.Run(fmt.Sprint("the lines before it stored: ", keepFirst), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := sharing(t)
				const bad = 28
				r.refuses(keepFirst, bad)
				r.run()
				r.firstImport()
				r.live(30*time.Minute, 30*time.Second)
				r.deliver(time.Hour)
				r.deadLetters(1, "rejected", "HTTP 400: bad line")
				refused := 0
				for _, req := range r.vm.Imports() {
					if req.Status == http.StatusBadRequest {
						refused++
					}
				}
				// The request, the chunk of 15 rows, halves of it, and the sample three times.
				if refused < 5 || refused > 10 {
					t.Errorf("%d refusals", refused)
				}
			})
		})
	}
}

// TestShared_PerLine: the lines that an answer names belong to their chunks.
func TestShared_PerLine(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("another time: ", again), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := sharing(t)
				r.silent = true
				odd := []int{1, 9, 18, 20, 21, 40, 60}
				step := testkit.AcceptSamples(func(s testkit.Sample) string {
					if slices.Contains(odd, int(s.Value)) {
						return "not this one"
					}
					return ""
				})
				step.Header = asJSON
				want := len(odd)
				if again {
					step.Details, want = another, 0
				}
				r.vm.Then(step)
				r.allow.deadLetters = func(s sample) bool { return !again && slices.Contains(odd, slices.Index(r.samples, s)+1) }
				r.run()
				r.firstImport()
				if c := r.counts(); c.Uploaded != 60-int64(len(odd)) {
					t.Errorf("%d uploaded, want %d", c.Uploaded, 60-len(odd))
				}
				r.deliver(20 * time.Minute)
				r.deadLetters(want, "rejected", "not this one")
			})
		})
	}
}

// TestShared_Killed: a kill between the record and the answer leaves all chunks in doubt.
func TestShared_Killed(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"recorded", "sent", "marked"} {
		for stored, keep := range map[string]testkit.Keep{"nothing": testkit.KeepNone, "half": testkit.KeepFirst(37), "all": testkit.KeepAll} {
			t.Run(point+", stored "+stored, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := sharing(t)
					r.vm.Then(testkit.AcceptSome(keep))
					r.run()
					r.die(point)
					if open := r.openChunks(); len(open) != 4 {
						t.Errorf("%d chunks are open, want 4", len(open))
					}
					r.deliver(30 * time.Minute)
					r.deadLetters(0, "", "")
				})
			})
		}
	}
}
