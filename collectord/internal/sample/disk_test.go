package sample

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDisk_WholeDevicesOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allowed []string
		want    []string
	}{
		{defaultDisks, []string{"hda", "mmcblk0", "nvme0n1", "sda", "sdaa", "vda", "xvda"}},
		{[]string{`nvme0n1p\d`, `loop.*`}, []string{"loop0", "nvme0n1p1"}},
		{[]string{`cciss/.*`}, []string{"cciss/c0d0"}},
		{[]string{`mmcblk0`}, []string{"mmcblk0"}},
	} {
		disk := must(NewDisk(treeOf("disk-all-kinds"), testDevice, c.allowed))
		r := newMachine(t).tick(disk)
		r.wantFaults(t, 0)
		if got := r.labelled("device"); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.allowed, got, c.want)
		}
	}
}

func TestDisk_Boards(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(must(NewDisk(treeOf("rk3588"), testDevice, defaultDisks)))
	r.wantFaults(t, 0)
	r.want(t, "disk.", map[string]float64{
		`disk.read_bytes_total{"device":"mmcblk0"}`:           2418746 * 512,
		`disk.written_bytes_total{"device":"mmcblk0"}`:        1410592 * 512,
		`disk.reads_total{"device":"mmcblk0"}`:                31877,
		`disk.writes_total{"device":"mmcblk0"}`:               12044,
		`disk.sector_size_bytes{"device":"mmcblk0"}`:          512,
		`disk.physical_sector_size_bytes{"device":"mmcblk0"}`: 512,
		`disk.read_bytes_total{"device":"nvme0n1"}`:           7421138 * 512,
		`disk.written_bytes_total{"device":"nvme0n1"}`:        98533368 * 512,
		`disk.reads_total{"device":"nvme0n1"}`:                58213,
		`disk.writes_total{"device":"nvme0n1"}`:               402133,
		`disk.sector_size_bytes{"device":"nvme0n1"}`:          512,
		`disk.physical_sector_size_bytes{"device":"nvme0n1"}`: 4096,
	})
}

// TestDisk_UnitIs512 shows that a device with sectors of 4096 bytes does not
// make the unit of the counters 4096 bytes. See TestDisk_LoopDevice for the
// proof on a real device.
func TestDisk_UnitIs512(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "disk-14-columns")
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	r := m.tick(disk)
	if got := r.values[`disk.sector_size_bytes{"device":"sda"}`]; got != 4096 {
		t.Fatalf("sector size %v", got)
	}
	before := r.values[`disk.written_bytes_total{"device":"sda"}`]
	m.write("proc/diskstats", "8 0 sda 1024 16 81920 500 2052 32 172032 900 0 700 1400\n") // 8192 units more
	r = m.tick(disk)
	if got := r.values[`disk.written_bytes_total{"device":"sda"}`] - before; got != 4<<20 {
		t.Errorf("total grew by %v, want 4 MiB", got)
	}
	if got := r.values[`disk.written_bytes_per_second{"device":"sda"}`]; got != 4<<20 {
		t.Errorf("%v bytes a second, want 4 MiB", got)
	}
}

func TestDisk_Rates(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	m.write("proc/diskstats", "8 0 sda 10 0 100 0 20 0 200 0 0 1000 0\n")
	m.tick(disk).want(t, "disk.busy_percent", map[string]float64{}) // a first reading has no rate
	m.write("proc/diskstats", "8 0 sda 13 0 108 0 27 0 216 0 0 1250 0\n")
	r := m.tick(disk)
	r.wantFaults(t, 0)
	r.want(t, "disk.", map[string]float64{
		`disk.read_bytes_total{"device":"sda"}`:         108 * 512,
		`disk.written_bytes_total{"device":"sda"}`:      216 * 512,
		`disk.reads_total{"device":"sda"}`:              13,
		`disk.writes_total{"device":"sda"}`:             27,
		`disk.read_bytes_per_second{"device":"sda"}`:    8 * 512,
		`disk.written_bytes_per_second{"device":"sda"}`: 16 * 512,
		`disk.reads_per_second{"device":"sda"}`:         3,
		`disk.writes_per_second{"device":"sda"}`:        7,
		`disk.busy_percent{"device":"sda"}`:             25,
	})
	// The kernel's clock ticks are coarse: never above 100.
	m.write("proc/diskstats", "8 0 sda 13 0 108 0 27 0 216 0 0 2254 0\n")
	m.tick(disk).want(t, "disk.busy_percent", map[string]float64{`disk.busy_percent{"device":"sda"}`: 100})
}

func TestDisk_WrapGivesNoRate(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "disk-counter-wrap")
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	m.tick(disk)
	m.lay("disk-counter-wrap-later")
	r := m.tick(disk)
	r.wantFaults(t, 0)
	for key := range r.values {
		if strings.Contains(key, "per_second") || strings.Contains(key, "percent") {
			t.Errorf("%s = %v after a wrap", key, r.values[key])
		}
	}
	if got := r.values[`disk.writes_total{"device":"sda"}`]; got != 600 {
		t.Errorf("total %v, want 600", got)
	}
	m.write("proc/diskstats", "8 0 sda 5 0 3000 10 600 0 3000 10 0 4 20\n")
	m.tick(disk).want(t, "disk.reads_per_second", map[string]float64{`disk.reads_per_second{"device":"sda"}`: 1})
}

func TestDisk_ReplacedBetweenTicks(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "disk-14-columns")
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	m.tick(disk)
	m.write("proc/diskstats", "8 16 sdb 1 0 1 0 1 0 1 0 0 1 1\n")
	if got := m.tick(disk).labelled("device"); !slices.Equal(got, []string{"sdb"}) {
		t.Errorf("got %q", got)
	}
	// It comes back with other sectors and counters that are larger: no rate may
	// be made of the old ones, and the sizes are read anew.
	m.write("proc/diskstats", "8 0 sda 9999 0 999999 0 9999 0 999999 0 0 9999 1\n")
	m.write("sys/block/sda/queue/logical_block_size", "512\n")
	r := m.tick(disk)
	r.want(t, "disk.reads_per_second", map[string]float64{})
	r.want(t, "disk.sector_size_bytes", map[string]float64{`disk.sector_size_bytes{"device":"sda"}`: 512})
}

// TestDisk_AnotherUnderItsName: with counters that are larger, so that nothing else shows it.
func TestDisk_AnotherUnderItsName(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m machine){
		"device number": func(m machine) {
			m.write("proc/diskstats", "8 16 sda 9000 0 9000 0 9000 0 9000 0 0 900 0\n")
		},
		"size": func(m machine) {
			m.remove("sys/block/sda/size")
			m.write("sys/block/sda/size", "62333952\n")
		},
		"sequence number": func(m machine) {
			m.remove("sys/block/sda/diskseq")
			m.write("sys/block/sda/diskseq", "12\n")
		},
	} {
		m := newMachine(t)
		disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
		m.write("sys/block/sda/size", "31116288\n")
		if name != "size" { // else a kernel without it
			m.write("sys/block/sda/diskseq", "9\n")
		}
		m.write("proc/diskstats", "8 0 sda 10 0 10 0 10 0 10 0 0 10 0\n")
		m.tick(disk)
		m.write("proc/diskstats", "8 0 sda 9000 0 9000 0 9000 0 9000 0 0 900 0\n")
		change(m)
		const rate = "disk.reads_per_second"
		r := m.tick(disk)
		r.wantFaults(t, 0)
		if r.want(t, rate, map[string]float64{}); r.values[`disk.reads_total{"device":"sda"}`] != 9000 {
			t.Errorf("%s: %v", name, r.values)
		}
		m.tick(disk).want(t, rate, map[string]float64{rate + `{"device":"sda"}`: 0})
	}
}

// TestDisk_Uevents is TestNetwork_Uevents with disks.
func TestDisk_Uevents(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	n := 0
	f := func(events, number string, wantRate bool) {
		t.Helper()
		m.write("sys/kernel/uevent_seqnum", events)
		if m.remove("sys/block/sda"); number != "" {
			m.write("sys/block/sda/diskseq", number)
		}
		n += 100
		m.write("proc/diskstats", strings.ReplaceAll("8 0 sda N 0 N 0 N 0 N 0 0 N 0\n", "N", fmt.Sprint(n)))
		r := m.tick(disk)
		r.wantFaults(t, 0)
		if _, ok := r.values[`disk.reads_per_second{"device":"sda"}`]; ok != wantRate {
			t.Errorf("events %q, number %q: rate %v, want %v", events, number, ok, wantRate)
		}
	}
	f("70\n", "5\n", false)
	f("70\n", "5\n", true)
	f("70\n", "6\n", true)  // cannot be: a name changes hands with an event
	f("71\n", "6\n", false) // but is seen with the next one
	f("72\n", "6\n", true)  // of something else
	f("73\n", "", true)     // it is about to go
	f("73\n", "7\n", false) // another one came before its event
	f("73\n", "7\n", true)
}

// TestDisk_Grown: a disk that keeps its sequence number is the same disk, whatever its size.
func TestDisk_Grown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	m.write("sys/block/sda/size", "31116288\n")
	m.write("sys/block/sda/diskseq", "9\n")
	m.write("proc/diskstats", "8 0 sda 10 0 10 0 10 0 10 0 0 10 0\n")
	m.tick(disk)
	m.remove("sys/block/sda/size")
	m.write("sys/block/sda/size", "62333952\n")
	const rate = "disk.reads_per_second"
	m.tick(disk).want(t, rate, map[string]float64{rate + `{"device":"sda"}`: 0})
}

func TestDisk_SectorSizes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	m.write("proc/diskstats", "8 0 sda 1 0 1 0 1 0 1 0 0 1 1\n")
	r := m.tick(disk)
	r.wantFaults(t, 0) // a container that hides sysfs: nothing is wrong
	r.want(t, "disk.sector", map[string]float64{})

	m.write("sys/block/sda/queue/logical_block_size", "512\n")
	m.write("sys/block/sda/queue/physical_block_size", "512\n")
	m.at = m.at.Add(relistInterval)
	m.tick(disk).want(t, "disk.sector", map[string]float64{`disk.sector_size_bytes{"device":"sda"}`: 512})
	m.write("sys/block/sda/queue/logical_block_size", "4096\n") // as losetup does to a free loop device
	m.tick(disk).want(t, "disk.sector", map[string]float64{`disk.sector_size_bytes{"device":"sda"}`: 512})
	m.at = m.at.Add(relistInterval)
	m.tick(disk).want(t, "disk.sector", map[string]float64{`disk.sector_size_bytes{"device":"sda"}`: 4096})

	m.write("sys/block/sda/queue/logical_block_size", "big\n")
	m.at = m.at.Add(relistInterval)
	for range 2 { // the fault lasts as long as the file is wrong
		r = m.tick(disk)
		r.wantFaults(t, 1)
		r.want(t, "disk.sector", map[string]float64{})
	}
	if len(r.errs) == 1 && !strings.Contains(r.errs[0].Error(), "sda/queue/logical_block_size") {
		t.Errorf("error %q does not name the file", r.errs[0])
	}
}

func TestDisk_BadLines(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "disk-truncated")
	disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
	r := m.tick(disk)
	r.wantFaults(t, 1)
	if got := r.labelled("device"); !slices.Equal(got, []string{"sda"}) {
		t.Errorf("got %q", got)
	}
	m.write("proc/diskstats", "nonsense\n")
	if r := m.tick(disk); r.err == nil || len(r.values) > 0 {
		t.Errorf("got %v, %v", r.values, r.err)
	}
	m.remove("proc/diskstats")
	if r := m.tick(must(NewDisk(m.fs(), testDevice, defaultDisks))); !os.IsNotExist(r.err) {
		t.Errorf("got %v", r.err)
	}
	m.write("proc/diskstats", "8 0 sda 1 0 1 0 1 0 1 0 0 1 1\n8 0 sda 2 0 2 0 2 0 2 0 0 2 2\n")
	m.tick(must(NewDisk(m.fs(), testDevice, defaultDisks))).wantFaults(t, 0) // a device named twice is sampled once
}

func TestNewDisk_WrongExpression(t *testing.T) {
	t.Parallel()
	_, err := NewDisk(treeOf("rk3588"), testDevice, []string{"sd("})
	if err == nil || !strings.Contains(err.Error(), "disk.allowed_devices") {
		t.Errorf("got %v", err)
	}
}

// TestDisk_NeverAbsurd feeds counters that grow, wrap and are reset: whatever is
// told must be finite and not negative, and a share at most 100.
func TestDisk_NeverAbsurd(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	rapid.Check(t, func(rt *rapid.T) {
		disk := must(NewDisk(m.fs(), testDevice, defaultDisks))
		for range rapid.IntRange(2, 5).Draw(rt, "ticks") {
			n := rapid.SliceOfN(rapid.Uint64(), 11, 11).Draw(rt, "counters")
			m.write("proc/diskstats", "8 0 sda "+strings.Trim(fmt.Sprint(n), "[]")+"\n")
			for key, v := range m.tick(disk).values {
				if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) || strings.Contains(key, "percent") && v > 100 {
					rt.Fatalf("%s = %v", key, v)
				}
			}
		}
	})
}

func TestDisk_AllocatesNothing(t *testing.T) {
	wantNoAllocations(t, must(NewDisk(treeOf("rk3588"), testDevice, defaultDisks)))
}

func BenchmarkDisk(b *testing.B) {
	benchCollector(b, must(NewDisk(treeOf("rk3588"), testDevice, defaultDisks)))
}
