//go:build bench

package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"belabox-metrics/shared/store"
)

const deviceID = "bench-device"

// board makes the samples of an encoder board with eight cores: 100 series named
// as the collectors name them, with values as the kernel and the collectors give
// them. Counters are whole and grow; memory comes in pages, load in hundredths,
// temperatures in the sensor's steps; rates and shares are quotients, with five
// digits. How well samples compress depends on just that.
type board struct {
	dice     *rand.Rand
	interval time.Duration
	seconds  float64 // since the reading before, as a collector measures it
	series   []*store.Series
	read     []func() float64 // one for each series
	samples  []store.Sample   // reused
}

// newBoard returns the same board for the same interval.
func newBoard(interval time.Duration) *board {
	d := &board{dice: rand.New(rand.NewPCG(1, 2)), interval: interval, seconds: interval.Seconds()}
	d.cpu()
	d.memory()
	d.network("eth0", 900_000)
	d.network("wlan0", 40_000)
	d.add("network.interfaces_dropped_total", d.constant(0))
	d.disk("mmcblk0", 30_000)
	d.disk("nvme0n1", 0) // asleep, as most second disks are
	d.filesystem("/", "ext4", 28e9)
	d.filesystem("/data", "ext4", 240e9)
	for i, zone := range []string{"soc-thermal", "bigcore0-thermal", "bigcore1-thermal", "littlecore-thermal", "center-thermal", "gpu-thermal", "npu-thermal"} {
		d.add("thermal.zone_celsius", d.temperature(0.923), "type", zone, "zone", fmt.Sprint("thermal_zone", i))
	}
	d.add("hwmon.temp_celsius", d.temperature(0.25), "chip", "nvme", "sensor", "Composite")
	d.samples = make([]store.Sample, len(d.series))
	for i, s := range d.series {
		d.samples[i].Series = s
	}
	return d
}

func (d *board) add(name string, read func() float64, tags ...string) {
	var t []store.Tag
	for ; len(tags) > 0; tags = tags[2:] {
		t = append(t, store.Tag{Name: tags[0], Value: tags[1]})
	}
	d.series = append(d.series, store.NewSeries(deviceID, name, store.Number, t...))
	d.read = append(d.read, read)
}

// tick returns the next sample of every series. The slice is used again.
func (d *board) tick() []store.Sample {
	d.seconds = d.interval.Seconds() + d.dice.NormFloat64()*50e-6
	for i, read := range d.read {
		d.samples[i].Value = read()
	}
	return d.samples
}

// walk is a value that wanders around middle in steps, between 0 and twice middle.
func (d *board) walk(middle, step float64) func() float64 {
	v := middle
	return func() float64 {
		v += math.Round(d.dice.NormFloat64()*3)*step + math.Round((middle-v)/middle*2)*step
		v = min(max(v, 0), 2*middle)
		return v
	}
}

// seldom changes now and then, and is one of the given values.
func (d *board) seldom(often float64, of ...float64) func() float64 {
	v := of[0]
	return func() float64 {
		if d.dice.Float64() < often {
			v = of[d.dice.IntN(len(of))]
		}
		return v
	}
}

func (d *board) constant(v float64) func() float64 { return func() float64 { return v } }

func (d *board) temperature(step float64) func() float64 {
	at := d.walk(50, 1)
	return func() float64 { return math.Round((30+at()*step/2)*1000) / 1000 }
}

// share is a percentage of two counters' growth, in hundredths of a second.
func (d *board) share(percent float64) func() float64 {
	load := d.walk(percent, percent/20)
	return func() float64 {
		total := math.Round(d.seconds*100 + d.dice.Float64())
		return quotient(100 * min(1, math.Round(load()/100*total)/total))
	}
}

// counter grows; perSecond is its rate, as a series of its own.
func (d *board) counter(perSecond, unit float64) (total, rate func() float64) {
	pace := d.walk(max(perSecond, 1), max(perSecond, 1)/30)
	sum, grown := math.Round(perSecond*1e5/unit)*unit, 0.0
	total = func() float64 {
		grown = 0
		if perSecond > 0 {
			grown = math.Round(pace()*(1+d.dice.NormFloat64()/30)*d.seconds/unit) * unit
		}
		sum += grown
		return sum
	}
	return total, func() float64 { return quotient(grown / d.seconds) }
}

// quotient gives a value the digits that the collectors give it.
func quotient(v float64) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 5, 64), 64)
	if err != nil {
		panic(err)
	}
	return v
}

func (d *board) cpu() {
	d.add("cpu.usage_percent", d.share(35), "core", "all")
	d.add("cpu.iowait_percent", d.share(0.4))
	d.add("cpu.steal_percent", d.constant(0))
	for core := range 8 {
		d.add("cpu.usage_percent", d.share(20+float64(core)*4), "core", strconv.Itoa(core))
		d.add("cpu.frequency_hertz", d.seldom(0.3, 408e6, 816e6, 1200e6, 1608e6, 1800e6), "core", strconv.Itoa(core))
	}
	switches, _ := d.counter(9000, 1)
	d.add("system.context_switches_total", switches)
	d.add("system.processes_running", d.seldom(0.5, 1, 2, 3, 4))
	d.add("system.processes_blocked", d.seldom(0.02, 0, 0, 0, 1))
	uptime := 12345.67
	d.add("system.uptime_seconds", func() float64 {
		uptime += d.seconds
		return math.Round(uptime*100) / 100
	})
	d.add("system.boot_time_seconds", d.constant(1_790_000_000))
	for _, minutes := range []string{"1m", "5m", "15m"} {
		load := d.walk(240, 2)
		d.add("load.average_"+minutes, func() float64 { return load() / 100 })
	}
	for _, name := range []string{"cpu_some", "memory_some", "memory_full", "io_some", "io_full"} {
		stalled, rate := d.counter(map[string]float64{"cpu_some": 4000, "io_some": 900, "io_full": 700}[name], 1)
		d.add("pressure."+name+"_percent", func() float64 { stalled(); return quotient(rate() / 1e4) }) // microseconds a second
	}
}

func (d *board) memory() {
	const total = 8_119_840_768
	available, swap := d.walk(5_200_000_000-5_200_000_000%4096, 40960), d.walk(65536, 4096)
	have := 0.0
	d.add("memory.total_bytes", d.constant(total))
	d.add("memory.available_bytes", func() float64 { have = available(); return have })
	d.add("memory.used_bytes", func() float64 { return total - have })
	d.add("memory.swap_total_bytes", d.constant(4_059_918_336))
	d.add("memory.swap_used_bytes", swap)
}

func (d *board) network(name string, bytesPerSecond float64) {
	for _, way := range []struct {
		name  string
		share float64
	}{{"receive", 0.04}, {"transmit", 1}} {
		bytes, bytesRate := d.counter(bytesPerSecond*way.share, 1)
		packets, packetsRate := d.counter(bytesPerSecond*way.share/900, 1)
		for _, m := range []struct {
			name string
			read func() float64
		}{
			{"bytes_total", bytes},
			{"packets_total", packets},
			{"errors_total", d.constant(0)},
			{"drops_total", d.constant(3)},
			{"bytes_per_second", bytesRate},
			{"packets_per_second", packetsRate},
		} {
			d.add("network."+way.name+"_"+m.name, m.read, "interface", name)
		}
	}
}

func (d *board) disk(name string, bytesPerSecond float64) {
	reads, readRate := d.counter(bytesPerSecond/50, 512)
	writes, writeRate := d.counter(bytesPerSecond, 4096)
	readOps, readOpsRate := d.counter(bytesPerSecond/50/9000, 1)
	writeOps, writeOpsRate := d.counter(bytesPerSecond/9000, 1)
	for _, m := range []struct {
		name string
		read func() float64
	}{
		{"read_bytes_total", reads},
		{"written_bytes_total", writes},
		{"reads_total", readOps},
		{"writes_total", writeOps},
		{"read_bytes_per_second", readRate},
		{"written_bytes_per_second", writeRate},
		{"reads_per_second", readOpsRate},
		{"writes_per_second", writeOpsRate},
		{"busy_percent", func() float64 { return quotient(100 * math.Round(writeOpsRate()) / 1000 / d.seconds) }},
		{"sector_size_bytes", d.constant(512)},
		{"physical_sector_size_bytes", d.constant(4096)},
	} {
		d.add("disk."+m.name, m.read, "device", name)
	}
}

func (d *board) filesystem(mount, kind string, size float64) {
	free := d.walk(math.Round(size*0.6/4096)*4096, 4096)
	have := 0.0
	d.add("filesystem.size_bytes", d.constant(size), "fstype", kind, "mountpoint", mount)
	d.add("filesystem.free_bytes", func() float64 { have = free(); return have }, "fstype", kind, "mountpoint", mount)
	d.add("filesystem.available_bytes", func() float64 { return have - 16777216 }, "fstype", kind, "mountpoint", mount)
	d.add("filesystem.files_free", d.walk(1_700_000, 1), "fstype", kind, "mountpoint", mount)
}
