package ship

import (
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

var asJSON = map[string][]string{"Content-Type": {"application/json"}}

// another tells of each refusal that the sample may be taken another time.
func another(accepted int, refused []testkit.LineResult) string {
	for i := range refused {
		refused[i].Retry = true
	}
	return testkit.ReceiverDetails(accepted, refused)
}

// TestPartialSuccess_25Of50: the details of a server that answers line by line
// decide. Of 50 samples it takes 25: these are marked and no other. The rest
// are dead letters, or go out again, as it says.
func TestPartialSuccess_25Of50(t *testing.T) {
	t.Parallel()
	for again, want := range map[bool]struct{ pending, deadLetters, imports int }{
		false: {0, 25, 1},
		true:  {25, 0, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 50)
			r.silent = true
			r.tick(r.now().Add(-time.Second))
			odd := testkit.AcceptSamples(func(s testkit.Sample) string {
				if int(s.Value)%2 == 0 {
					return "no even ones today"
				}
				return ""
			})
			odd.Header = asJSON
			if again {
				odd.Details = another
			}
			r.vm.Then(odd)
			r.allow.deadLetters = func(s sample) bool { return !again }
			r.run()
			for len(r.vm.Imports()) == 0 {
				r.sleep(100 * time.Millisecond)
			}
			pending, open := r.left()
			if c := r.counts(); c.Uploaded != 25 || c.Partial != 1 || len(pending) != want.pending || len(open) == 0 || len(open[0].Keys) != 25 {
				t.Errorf("again %v: %d pending, %d chunks, counts %+v", again, len(pending), len(open), c)
			}
			for _, row := range pending {
				if int(row.Value)%2 != 0 {
					t.Errorf("again %v: sample %v was taken and is pending", again, row.Value)
				}
			}
			r.deliver(10 * time.Minute)
			r.deadLetters(want.deadLetters, "rejected", "no even ones today")
			if n := len(r.vm.Imports()); n != want.imports {
				t.Errorf("again %v: %d imports, want %d", again, n, want.imports)
			}
		})
	}
}

// TestPartialSuccess_NoDetails: a 2xx without details marks the whole chunk.
// What it is worth shows when the samples are read back.
func TestPartialSuccess_NoDetails(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]testkit.Step{
		"204":             testkit.Accept(),
		"200, empty":      {Status: 200},
		"200, a text":     {Status: 200, Body: "thank you"},
		"200, other JSON": {Status: 200, Header: asJSON, Body: `{"status":"ok"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 50)
				r.tick(r.now().Add(-time.Second))
				r.vm.Then(step)
				r.run()
				for len(r.vm.Imports()) == 0 {
					r.sleep(100 * time.Millisecond)
				}
				pending, open := r.left()
				if len(pending) != 0 || len(open) != 1 || open[0].State != store.Accepted || len(open[0].Keys) != 50 {
					t.Errorf("%d rows pending, chunks %+v", len(pending), open)
				}
				r.deliver(10 * time.Minute)
				if c := r.counts(); c.Uploaded != 50 || c.Verified != 50 || c.Partial != 0 || c.Attempts != 1 {
					t.Errorf("counts %+v", c)
				}
			})
		})
	}
}

// TestPartialSuccess_AnotherTime: what the server may take another time is sent again.
func TestPartialSuccess_AnotherTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 50)
		r.silent = true
		r.tick(r.now().Add(-time.Second))
		busy := testkit.AcceptLines(func(line string) string {
			if lineWith(1, 2, 3)(line) {
				return "too many new series"
			}
			return ""
		})
		busy.Header, busy.Details = asJSON, another
		none := busy
		none.Refuse = func(string, testkit.Sample) string { return "closed" }
		r.vm.Then(none, busy, busy)
		r.run()
		r.deliver(10 * time.Minute)
		r.deadLetters(0, "", "")
		if n := len(r.vm.Imports()); n != 4 {
			t.Errorf("%d imports, want 4", n)
		}
	})
}

// TestPartialSuccess_Contradictory: details that do not fit the body prove nothing, so
// the chunk is read back.
func TestPartialSuccess_Contradictory(t *testing.T) {
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
				r.deadLetters(0, "", "")
			})
		}
	}
}
