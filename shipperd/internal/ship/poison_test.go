package ship

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

// lineWith tells whether a JSON line holds one of the samples, by their numbers.
func lineWith(numbers ...int) func(line string) bool {
	return func(line string) bool {
		var in struct{ Values []float64 }
		if err := json.Unmarshal([]byte(line), &in); err != nil {
			panic(err)
		}
		return slices.ContainsFunc(in.Values, func(v float64) bool { return slices.Contains(numbers, int(v)) })
	}
}

// refuses makes the server refuse bodies with these samples, and lets the checker
// expect them, and only them, among the dead letters.
func (r *rig) refuses(keepFirst bool, numbers ...int) {
	r.vm.RejectLines(lineWith(numbers...), keepFirst)
	r.allow.deadLetters = func(s sample) bool {
		return slices.ContainsFunc(numbers, func(n int) bool { return r.samples[n-1] == s })
	}
}

// deadLetters wants exactly n dead letters of a reason, each with the text of the server.
func (r *rig) deadLetters(n int, reason, words string) {
	r.t.Helper()
	all, err := r.watch.DeadLetters(r.t.Context(), 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(all) != n {
		r.t.Errorf("%d dead letters, want %d", len(all), n)
	}
	for _, l := range all {
		if l.Reason != reason || !strings.Contains(l.Detail, words) {
			r.t.Errorf("dead letter %q: %q, want %q: ...%s...", l.Reason, l.Detail, reason, words)
		}
	}
	if n > 0 {
		r.has("samples moved to the dead letters")
	}
}

// TestPoison: a 400 is bisected down to the sample that the server refuses; it alone
// becomes a dead letter, and the others arrive.
func TestPoison(t *testing.T) {
	t.Parallel()
	for name, numbers := range map[string][]int{
		"one": {17}, "the first": {1}, "the last": {60}, "two apart": {3, 58}, "two of a line": {5, 25}, "two beside": {30, 31},
		"many": {1, 2, 3, 10, 20, 30, 40, 50, 60}, "a series": {4, 24, 44},
	} {
		for _, keepFirst := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", the lines before it stored: ", keepFirst), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 20)
					r.ticks(3, 10*time.Second)
					r.refuses(keepFirst, numbers...)
					r.run()
					for range 60 { // the device lives on
						r.sleep(30 * time.Second)
						r.tick(r.now())
					}
					r.deliver(time.Hour)
					r.deadLetters(len(numbers), "rejected", "HTTP 400: bad line")
				})
			})
		}
	}
}

// TestPoison_InDrain has nothing else to send that could show the server to be
// well, but the other half.
// TestPoison_ServerError: a sample that breaks the server, or the one behind a proxy,
// holds up nobody, and ends alone.
func TestPoison_ServerError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.ticks(3, 10*time.Second)
				const bad = 17
				r.vm.FailLines(lineWith(bad), status)
				r.allow.deadLetters = func(s sample) bool { return s.key == r.samples[bad-1].key && s.series == r.samples[bad-1].series }
				r.run()
				r.live(2*time.Hour, 10*time.Second)
				if l := r.readFile(t.Context()).ledger; l.Pending > 500 {
					t.Errorf("%d samples wait", l.Pending)
				}
				r.deliver(12 * time.Hour)
				r.deadLetters(1, "rejected", fmt.Sprintf("HTTP %d", status))
			})
		})
	}
}

func TestPoison_InDrain(t *testing.T) {
	t.Parallel()
	for _, numbers := range [][]int{{1}, {17}, {60}, {3, 58}, {1, 2, 3, 10, 20, 30, 40, 50, 60}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 20)
			r.ticks(3, 10*time.Second)
			r.refuses(false, numbers...)
			if err := r.shipper.Drain(t.Context(), func(Counts) {}); err != nil {
				t.Error(err)
			}
			r.check()
			r.deadLetters(len(numbers), "rejected", "HTTP 400: bad line")
		})
	}
}

// TestPoison_SickServer: a proxy that answers 400 to everything condemns no
// sample, however long it does so, and gets few requests.
func TestPoison_SickServer(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{1, 60, 5000} {
		for _, status := range []int{400, 422, 413} {
			t.Run(fmt.Sprint(rows, " rows, ", status), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, min(rows, 20))
					r.ticks(max(1, rows/20), 10*time.Second)
					r.vm.Otherwise(testkit.Answer(status, testkit.KeepNone))
					r.run()
					r.pass(24*time.Hour, 10*time.Minute)
					r.check()
					r.deadLetters(0, "", "")
					if n := len(r.vm.Imports()); n > 400 {
						t.Errorf("%d requests in a day", n)
					}
					if rows > 1 {
						r.has("refuses everything")
					}
					r.vm.Otherwise(testkit.Accept())
					r.deliver(time.Hour)
					r.deadLetters(0, "", "")
				})
			})
		}
	}
}

// TestPoison_FlappingServer: one that is sick now and then makes no dead letters.
func TestPoison_FlappingServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.run()
		for range 40 {
			r.vm.Otherwise(testkit.Answer(400, testkit.KeepNone))
			r.tick(r.now())
			r.sleep(40 * time.Second)
			r.vm.Otherwise(testkit.Accept())
			r.tick(r.now())
			r.sleep(80 * time.Second)
			r.check()
		}
		r.deliver(time.Hour)
		r.deadLetters(0, "", "")
	})
}

// TestPoison_Restart: what is suspected outlives a restart, and a half-done
// search continues.
func TestPoison_Restart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.ticks(3, 10*time.Second)
		r.refuses(true, 17, 42)
		r.run()
		for range 30 {
			r.sleep(77 * time.Second)
			r.tick(r.now())
			r.restart()
			r.check()
		}
		for range 20 {
			r.sleep(time.Minute)
			r.tick(r.now())
		}
		r.deliver(time.Hour)
		r.deadLetters(2, "rejected", "HTTP 400: bad line")
	})
}

// TestTooLarge: bodies shrink to what the server takes.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{6000, 3000, 400} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 40)
				r.ticks(100, 10*time.Second)
				r.vm.LimitBody(limit)
				r.run()
				r.deliver(3 * time.Hour)
				refused := 0
				for _, req := range r.vm.Imports() {
					if req.Status == 413 {
						refused++
					}
				}
				if refused == 0 || refused > 14 {
					t.Errorf("%d of %d requests were too large", refused, len(r.vm.Imports()))
				}
				r.deadLetters(0, "", "")
			})
		})
	}
}

// TestTooLarge_OneSample: a sample that is too large by itself is a dead letter,
// as others are taken.
func TestTooLarge_OneSample(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		r.silent = true
		r.tick(r.now().Add(-time.Minute))
		noise := make([]byte, 3000)
		for i := range noise {
			noise[i] = 'a' + byte(r.rand.IntN(26))
		}
		r.series = append(r.series, store.NewSeries("dev", "large", store.Number, store.Tag{Name: "tag", Value: string(noise)}))
		r.tick(r.now().Add(-time.Second))
		large := r.samples[len(r.samples)-1]
		r.allow.deadLetters = func(s sample) bool { return s == large }
		r.vm.LimitBody(1000)
		r.run()
		for range 30 {
			r.sleep(time.Minute)
			r.insert(r.now(), r.series[0])
		}
		r.deliver(time.Hour)
		r.deadLetters(1, "rejected", "HTTP 413")
	})
}

// TestSift: rows that the server would drop silently are found before.
func TestSift(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tags []store.Tag
		for i := range 40 {
			tags = append(tags, store.Tag{Name: fmt.Sprintf("t%02d", i), Value: "x"})
		}
		r := newRig(t, 8)
		r.series = append(r.series,
			store.NewSeries("dev", "many.labels", store.Number, tags...),
			store.NewSeries("dev", "long.value", store.Number, store.Tag{Name: "t", Value: strings.Repeat("x", 5000)}),
			store.NewSeries("dev", "long.name", store.Number, store.Tag{Name: strings.Repeat("x", 300), Value: "x"}),
			store.NewSeries("dev", strings.Repeat("n", 300), store.Number),
			store.NewSeries("dev", "a.text", store.Text),
		)
		r.ticks(3, 10*time.Second)
		bad := map[string]bool{}
		for _, s := range r.series[8:12] {
			bad[named(s)] = true
		}
		r.allow.deadLetters = func(s sample) bool { return bad[s.series] }
		r.run()
		r.deliver(10 * time.Minute)
		if c := r.counts(); c.Rejected["too_many_labels"] != 3 || c.Rejected["label_too_long"] != 6 || c.Rejected["name_too_long"] != 3 {
			t.Errorf("rejected %v", c.Rejected)
		}
		if n := len(r.vm.Imports()); n != 1 {
			t.Errorf("%d imports, want 1", n)
		}
		l, err := r.watch.Ledger(t.Context())
		if err != nil || l.Unsendable != 3 {
			t.Errorf("ledger %+v, %v: want 3 texts", l, err)
		}
	})
}
