//go:build bench

package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

var wearFor = flag.Duration("wear.for", 7*time.Minute, "how long BenchmarkWear writes: long enough that the two starts and the last checkpoint do not count for much, and that rows are pruned")

// The rhythm of BenchmarkWear, in real time: commits, syncs and uploads come as
// often as on a device, and so do the file system's own commits.
var (
	wearTick   = flag.Duration("wear.tick", time.Second, "collection.interval of BenchmarkWear; for 10s half an hour makes sense")
	wearUpload = flag.Duration("wear.upload", 10*time.Second, "its remote.upload_interval, by default 1m on a device")
)

const (
	wearDurability = 10 * time.Second
	wearRetention  = time.Minute // 24h by default; a minute brings pruning into the run
)

// BenchmarkWear is what both daemons together write to the block device, for about
// 100 series once a second, shipped every ten seconds, with durability 10s: a loop
// device with its own ext4 counts it, journal and the last checkpoint included.
// Beside it, on a device of its own and in the same time, the layout of schema
// version 5 with 100 series in the same rhythm.
func BenchmarkWear(b *testing.B) {
	for b.Loop() {
		benchWear(b)
	}
}

func benchWear(b *testing.B) {
	var disks [2]*disk
	for i := range disks {
		var err error
		if disks[i], err = newDisk(b); err != nil {
			b.ReportMetric(0, "ns/op")
			b.Logf("\n%s\nNOT MEASURED: the bytes at the block device need root and a free loop device\n%v\n%[1]s",
				strings.Repeat("#", 80), err)
			return
		}
	}
	var ours, v5 wear
	var wg sync.WaitGroup
	wg.Go(func() { v5 = wearVersion5(b, disks[1]) })
	ours = wearDaemons(b, disks[0])
	wg.Wait()
	if b.Failed() {
		return
	}

	r := report{ours: "both daemons", peers: []string{"version 5 layout"}, title: fmt.Sprintf("bytes at the block device, every %v, shipped every %v", *wearTick, *wearUpload)}
	r.add("written", "B-device/sample", ours.perSample(), "≤ 200", v5.perSample())
	r.add("per tick", "kB/tick", float64(ours.bytes)/1e3/float64(ours.ticks), "", float64(v5.bytes)/1e3/float64(v5.ticks))
	r.add("database file", "MB-file", float64(ours.file)/mega, "", float64(v5.file)/mega)
	r.note("%d samples in %d ticks, %d of them pruned; version 5: %d samples in %d ticks, %d pruned",
		ours.rows, ours.ticks, ours.pruned, v5.rows, v5.ticks, v5.pruned)
	r.print(b)
}

// wear is what was written for how much.
type wear struct{ rows, ticks, pruned, bytes, file int64 }

func (w wear) perSample() float64 { return float64(w.bytes) / float64(w.rows) }

// wearDaemons runs both daemons twice on the disk: once to make the database, and
// once, from the first start to the end of the last checkpoint, to be counted.
func wearDaemons(b *testing.B, disk *disk) (w wear) {
	vm := testkit.StartVM(b, testkit.VMConfig{})
	d := newDevice(b, disk.Dir, "durability: "+wearDurability.String()+", retention: "+wearRetention.String(),
		"collection: {interval: "+wearTick.String()+"}",
		"network: {exclude: []}",
		"disk: {allowed_devices: ['[hsv]d[a-z]+', 'nvme[0-9]+n[0-9]+', 'mmcblk[0-9]+', 'zram[0-9]+']}",
		"remote: {url: '"+vm.ImportURL()+"', upload_interval: "+wearUpload.String()+", verify: {delay: 15s, settle: 15s}}")
	life := func(length time.Duration) (rows, ticks int64) {
		collectord, shipperd := d.collectord(), d.shipperd()
		collectord.WaitLine(testkit.WaitLimit, "collectord started")
		shipperd.WaitLine(testkit.WaitLimit, "shipperd started")
		time.Sleep(length)
		d.stop(shipperd)
		d.stop(collectord) // the last checkpoint
		line := collectord.WaitLine(0, "collectord stopped")
		return number(b, line, "samples"), number(b, line, "ticks")
	}
	life(3 * time.Second)
	before := disk.written()
	w.rows, w.ticks = life(*wearFor)
	w.bytes = disk.written() - before

	db := d.reader()
	w.pruned = count(b, db, "SELECT coalesce(sum(samples), 0) FROM ledger WHERE account LIKE '%\\_pruned' ESCAPE '\\'")
	w.file = fileSize(b, d.db)
	return w
}

// number returns a whole number of a line of the JSON log.
func number(b *testing.B, line, key string) int64 {
	b.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		b.Fatalf("log line %q: %v", line, err)
	}
	n, ok := fields[key].(float64)
	if !ok {
		b.Fatalf("log line %q has no number %q", line, key)
	}
	return int64(n)
}

func fileSize(b *testing.B, path string) int64 {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}
