package ship

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// TestUnverified: with verification off delivery is at least once, nothing is
// lost, nothing is read.
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
					t.Errorf("request to %s", req.Path)
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

// TestWriteOnly: credentials may write but not read. Nothing is concluded from that: the rows stay,
// health reports it, few reads are sent, and once they may read everything is proven.
func TestWriteOnly(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.refuseReads(80, status)
				r.run()
				r.live(time.Hour, 10*time.Second)
				c := r.shipper.Stats.Snapshot()
				if c.Unproven || c.Verified != 0 || c.ReadError == nil || c.Requeued != 0 {
					t.Errorf("counts %+v", c)
				}
				r.live(time.Hour, 10*time.Second)
				r.deliver(time.Hour)
				r.has("read-back works again")
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
				r.has("read-back works again")
			})
		})
	}
}

// TestReadsTogether: a count each five minutes proves all uploads since the last one, also where
// the size of the data has a limit that is far away.
func TestReadsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, func(r *rig) { r.cfg.MaxDataBytes = 512 << 20 })
		r.run()
		r.live(time.Hour, 10*time.Second)
		if n := len(r.vm.Requests()) - len(r.vm.Imports()); n > 16 {
			t.Errorf("%d reads in an hour, want one each five minutes", n)
		}
		r.deliver(time.Hour)
	})
}
