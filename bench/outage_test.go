//go:build bench

package bench

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var (
	outageDays = flag.Float64("outage.days", 0.2, "length of the outage of BenchmarkOutage in days")
	outageRate = flag.Int("outage.rate", 20_000, "bytes a second each way of its link")
)

const outageTick = 10 * time.Second

// BenchmarkOutage is a device of 100 series every ten seconds whose server was away for days. The
// link comes back with 20 kB/s each way. It shows when the present is visible at the server,
// whether it stays so, and when the past is complete and proven, with each order.
func BenchmarkOutage(b *testing.B) {
	for b.Loop() {
		oldest, newest := outage(b, "oldest_first"), outage(b, "newest_first")
		r := report{
			ours: "newest_first", peers: []string{"oldest_first"},
			title: fmt.Sprintf("%d samples of an outage over %d B/s", newest.backlog, *outageRate),
		}
		line := func(name, unit, target string, of func(outageCost) float64) {
			r.add(name, unit, of(newest), target, of(oldest))
		}
		line("present visible after", "s-present", "≤ 90", func(o outageCost) float64 { return o.present.Seconds() })
		line("largest lag from then on", "s-lag", "≤ 90", func(o outageCost) float64 { return o.lag.Seconds() })
		line("past sent after", "s-past", "", func(o outageCost) float64 { return o.past.Seconds() })
		line("all proven after", "s-all", "", func(o outageCost) float64 { return o.all.Seconds() })
		line("wire, both ways", "B/sample", "", func(o outageCost) float64 { return float64(o.wire) / float64(o.stored) })
		line("lost", "lost", "0", func(o outageCost) float64 { return float64(o.lost) })
		line("doubled", "doubled", "0", func(o outageCost) float64 { return float64(o.doubled) })
		r.note("the lag is the age of the newest sample that the server shows; the ticks are ten seconds apart")
		r.print(b)
	}
}

type outageCost struct {
	backlog, stored, lost, doubled int64
	present, lag, past, all        time.Duration
	wire                           int64
}

func outage(b *testing.B, order string) (o outageCost) {
	vm := testkit.StartVM(b, testkit.VMConfig{})
	proxy := testkit.StartProxy(b, vm.Addr())
	proxy.Limit(*outageRate)
	d := newDevice(b, b.TempDir(), "max_size_mb: 4096", "remote: {url: '"+proxy.URL()+"/api/v1/import', order: "+order+"}")
	in := d.inserter(10 * time.Second)
	brd := newBoard(outageTick)
	var inserted int64
	tick := func(ts time.Time) {
		if _, err := in.Insert(context.WithoutCancel(b.Context()), ts, brd.tick()); err != nil {
			b.Error(err)
		}
		inserted += int64(len(brd.series))
	}
	ticks := int(*outageDays * float64(24*time.Hour/outageTick))
	next := time.Now().Truncate(outageTick)
	for i := range ticks {
		tick(next.Add(-time.Duration(ticks-i) * outageTick))
	}
	o.backlog = inserted
	if _, err := in.Checkpoint(b.Context()); err != nil { // as collectord does
		b.Fatal(err)
	}
	db := d.reader()

	start := time.Now()
	var live sync.WaitGroup
	ended := make(chan struct{})
	live.Go(func() {
		for at := start.Truncate(outageTick).Add(outageTick); ; at = at.Add(outageTick) {
			select {
			case <-ended:
				return
			case <-time.After(time.Until(at)):
				tick(at)
			}
		}
	})
	shipperd := d.shipperd()
	pending := fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM metrics WHERE dedup_key >= (SELECT low_water FROM outbox)
		AND uploaded = 0 AND dedup_key < %d << 22)`, start.UnixMilli())
	for o.past == 0 {
		time.Sleep(time.Second)
		age := time.Since(newestAt(b, vm))
		switch since := time.Since(start); {
		case o.present == 0 && age < since:
			o.present = since
		case o.present > 0:
			o.lag = max(o.lag, age)
		}
		if o.present > 0 && count(b, db, pending) == 0 {
			o.past = time.Since(start)
		}
	}
	close(ended)
	live.Wait()
	testkit.Eventually(b, 15*time.Minute, "all to be proven", func() bool {
		return count(b, db, `SELECT (SELECT count(*) FROM upload_checkpoints WHERE state IN ('sending', 'accepted', 'requeued'))
			+ (SELECT count(*) FROM metrics WHERE dedup_key >= (SELECT low_water FROM outbox) AND uploaded = 0)`) == 0
	})
	o.all, o.wire = time.Since(start), wireBytes(proxy)
	d.stop(shipperd)
	d.close(in)
	distinct := storedOnce(b, vm)
	o.stored = storedRows(b, vm)
	o.lost, o.doubled = inserted-distinct, o.stored-distinct
	return o
}

// newestAt is the time of the newest sample that the server shows; long ago where there is none.
func newestAt(b *testing.B, vm *testkit.VM) time.Time {
	b.Helper()
	found, err := vm.Query("max(tlast_over_time({device_id="+strconv.Quote(deviceID)+",__name__=\"load_average_1m\"}[1h]))", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	if len(found) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(found[0].Value * 1000))
}

// storedOnce counts the samples of the device at the server, each once.
func storedOnce(b *testing.B, vm *testkit.VM) (n int64) {
	b.Helper()
	exported, err := vm.Export("{device_id=" + strconv.Quote(deviceID) + "}")
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range exported {
		seen := make(map[int64]bool, len(s.Timestamps))
		for _, ts := range s.Timestamps {
			seen[ts] = true
		}
		n += int64(len(seen))
	}
	return n
}
