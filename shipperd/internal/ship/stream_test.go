package ship

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

func (r *rig) keys() store.KeySet {
	keys := make(store.KeySet, len(r.samples))
	for i, s := range r.samples {
		keys[i] = s.key
	}
	return keys.Sorted()
}

// TestCheckpoint_ChunkByChunk: each chunk of an upload has its record and its end. The
// first is accepted and its rows are marked while the second has failed, and both are
// known to the next start.
func TestCheckpoint_ChunkByChunk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, func(r *rig) { r.chunks.MaxBytes = 500 }) // a chunk a request
		r.tick(r.now().Add(-time.Second))
		r.vm.Then(testkit.Accept(), testkit.Answer(500, testkit.KeepNone))
		r.run()
		for len(r.vm.Imports()) < 2 {
			r.sleep(100 * time.Millisecond)
		}
		check := func(when string) {
			t.Helper()
			pending, open := r.left()
			if len(open) != 2 || open[0].State != store.Accepted || open[1].State != store.Sending ||
				len(open[0].Keys) != 50 || len(open[1].Keys) != 50 || open[0].BatchID != open[1].BatchID {
				t.Fatalf("%s: chunks %+v", when, open)
			}
			left := make(store.KeySet, len(pending))
			for i, row := range pending {
				left[i] = row.Key
			}
			if !slices.Equal(left, open[1].Keys) {
				t.Errorf("%s: pending rows %v, want those of the second chunk", when, left)
			}
		}
		check("after the upload")
		r.halt()
		check("after the stop")
		r.restart()
		check("after the start")
		r.deliver(10 * time.Minute)
	})
}

// TestCatchUp: above one batch the shipper reads further ahead, and goes back to
// normal uploads at the end.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, func(r *rig) { r.cfg.BatchSize = 250 })
		r.ticks(300, 10*time.Second)
		r.run()
		r.sleep(time.Minute)
		imports := r.vm.Imports()
		if n := len(imports); n != 1 {
			t.Errorf("a backlog of 30,000 went in %d requests, want 1", n)
		}
		if n := len(imports[0].Lines); n != 100 {
			t.Errorf("%d lines, want one a series", n)
		}
		r.pass(time.Minute, 20*time.Second)
		if n := len(r.vm.Imports()[len(r.vm.Imports())-1].Lines); n != 100 {
			t.Errorf("%d lines in the request of a normal upload of 100 metrics, want all of both chunks", n)
		}
		r.deliver(time.Hour)
	})
}

// TestCatchUp_Pace bounds the bytes a second of a backlog, and of nothing else.
func TestCatchUp_Pace(t *testing.T) {
	t.Parallel()
	const pace = 1000
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 50, func(r *rig) {
			r.cfg.BatchSize, r.cfg.CatchUpRows, r.cfg.CatchUpBytesPerSecond = 250, 1000, pace
		})
		r.ticks(400, 10*time.Second)
		r.run()
		r.deliver(time.Hour)
		imports := r.vm.Imports()
		bytes, last := 0, imports[len(imports)-1]
		for _, req := range imports[:len(imports)-1] {
			bytes += len(req.Body)
		}
		took := last.Time.Sub(imports[0].Time).Seconds()
		if rate := float64(bytes) / took; rate > pace*1.01 || rate < pace/2 {
			t.Errorf("%d bytes in %.0f s: %.0f a second, want at most %d", bytes, took, rate, pace)
		}
	})
}

// TestCatchUp_PaceWithHoles: samples for earlier times, each with delivered ones on both sides, are
// a request each. Their heads count, too.
func TestCatchUp_PaceWithHoles(t *testing.T) {
	t.Parallel()
	const pace = 100
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, func(r *rig) { r.cfg.CatchUpBytesPerSecond = pace })
		r.ticks(40, time.Hour)
		r.run()
		r.deliver(time.Hour)
		delivered := len(r.vm.Imports())
		for i := range 40 {
			r.tick(r.now().Add(-time.Duration(i)*time.Hour - 30*time.Minute))
		}
		r.deliver(time.Hour)
		imports := r.vm.Imports()[delivered:]
		if len(imports) < 40 {
			t.Fatalf("%d requests, want one for each of 40 samples", len(imports))
		}
		bytes := 0
		for _, req := range imports[:39] {
			bytes += len(req.Body) + headBytes
		}
		took := imports[39].Time.Sub(imports[0].Time).Seconds()
		if rate := float64(bytes) / took; rate > pace*1.01 || rate < pace/2 {
			t.Errorf("%d bytes in %.0f s: %.0f a second, want at most %d", bytes, took, rate, pace)
		}
	})
}

// TestCatchUp_BrokenLink: over a link on which large bodies break off, they
// shrink until they get through.
func TestCatchUp_BrokenLink(t *testing.T) {
	t.Parallel()
	for _, most := range []int{700, 5000} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 100)
				r.ticks(200, 10*time.Second)
				// The link: nothing of a larger request is stored, and no answer comes.
				step := testkit.Accept()
				step.Keep = func(int, testkit.Sample) bool { return false }
				breaking := &breaking{Server: r.http, most: most}
				r.shipper.Server = breaking
				r.run()
				r.deliver(12 * time.Hour)
				if breaking.broken == 0 || breaking.broken > 20 {
					t.Errorf("%d requests broke off", breaking.broken)
				}
				r.has("requests break off, smaller ones follow")
			})
		})
	}
}

// TestLateRows: the clock goes back while rows are shipped; rows appear below the
// low-water mark, in the span of open chunks and before all of them.
func TestLateRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.vm.Then(testkit.Accept(), testkit.Answer(500, testkit.KeepEvery(2)), testkit.Accept(), testkit.AcceptSome(testkit.KeepEvery(2)))
		r.run()
		for i := range 60 {
			r.tick(r.now())
			r.tick(r.now().Add(-5*time.Second - time.Duration(i)*time.Millisecond))
			r.tick(r.now().Add(-2*time.Hour - time.Duration(i)*time.Millisecond))
			r.sleep(10 * time.Second)
			if i%10 == 0 {
				r.check()
			}
		}
		r.deliver(time.Hour)
	})
}

// TestTwoDevices: a file may hold rows of a former device.id.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10)
		for i := range 10 {
			r.series = append(r.series, store.NewSeries("other", fmt.Sprintf("metric.m%d", i/4), store.Number, store.Tag{Name: "part", Value: fmt.Sprint(i % 4)}))
		}
		r.series = append(r.series, store.NewSeries("", "nobodys", store.Number))
		r.vm.Then(testkit.Accept(), testkit.Answer(500, testkit.KeepEvery(2)), testkit.Answer(500, testkit.KeepAll), testkit.AcceptSome(testkit.KeepEvery(2)))
		r.run()
		r.live(10*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}

// TestStringMetrics_NotSent: text rows are done without being sent, also where there
// is nothing else.
func TestStringMetrics_NotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		r.series = append(r.series, store.NewSeries("dev", "a.text", store.Text), store.NewSeries("dev", "a.number", store.Number))
		r.insert(r.now().Add(-time.Second), r.series[0])
		// The series get their ids in the order in which they come.
		r.insert(r.now(), r.series[1])
		r.run()
		r.pass(time.Minute, 10*time.Second)
		for range 10 {
			r.insert(r.now().Add(time.Millisecond), r.series[0])
			r.sleep(10 * time.Second)
		}
		r.deliver(time.Hour)
		for _, req := range r.vm.Imports() {
			for _, line := range req.Lines {
				if lineWith(1)(line) {
					t.Errorf("sent %s", line)
				}
			}
		}
	})
}

// TestRetention: rows go when they are proven and old enough, never before, and
// an unproven one keeps all that came after it.
func TestRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10, func(r *rig) { r.cfg.Retention = time.Hour })
		r.run()
		r.live(3*time.Hour, time.Minute)
		r.sleep(10 * time.Minute)
		f := r.readFile(t.Context())
		for _, s := range r.samples {
			age := time.Since(time.UnixMilli(s.key.TimestampMS()))
			if age < time.Hour && !f.rows[s.key] || age > time.Hour+pruneEvery+time.Minute && f.rows[s.key] {
				t.Fatalf("a row is %v old, in the file %v", age, f.rows[s.key])
			}
		}
		// The next upload is never proven.
		r.vm.Then(testkit.Answer(500, testkit.KeepAll))
		for range 1000 {
			r.vm.ThenRead(testkit.Answer(500, nil))
		}
		first := r.samples[len(r.samples)-1]
		r.live(5*time.Hour, time.Minute)
		f = r.readFile(t.Context())
		kept := 0
		for _, s := range r.samples {
			if s.key > first.key && f.rows[s.key] {
				kept++
			}
		}
		if want := 5 * 60 * 10; kept < want-10 {
			t.Errorf("%d rows after the unproven one are in the file, want about %d", kept, want)
		}
	})
}

// TestBudget: what does not fit is dropped, oldest first, proven rows before
// others, and counted.
func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 100, func(r *rig) { r.cfg.MaxDataBytes = 500 << 10; r.allow.dropped, r.allow.unproven = true, true })
		r.run()
		r.live(20*time.Minute, 10*time.Second)
		r.vm.GoAway()
		r.live(3*time.Hour, 30*time.Second)
		c := r.counts()
		if c.Dropped["size"] == 0 || c.Pruned == 0 {
			t.Errorf("%d dropped, %d pruned", c.Dropped["size"], c.Pruned)
		}
		size, err := r.watch.DataSize(t.Context())
		if err != nil || size > 530<<10 || size < 400<<10 {
			t.Errorf("the data takes %d bytes, %v", size, err)
		}
		r.has("oldest samples dropped undelivered")
		r.vm.ComeBack()
		r.live(5*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}
