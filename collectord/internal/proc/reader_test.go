package proc

import "testing"

func TestReaders_AllocateNothing(t *testing.T) {
	fs := treeOf("rk3588")
	freq, err := CPUFreqPath(fs, 0)
	if err != nil {
		t.Fatal(err)
	}
	emmc, err := EMMCs(fs)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := NewCGroups(fs)
	if err != nil {
		t.Fatal(err)
	}
	group, err := groups.Open("system.slice/belaUI.service")
	if err != nil {
		t.Fatal(err)
	}
	uevents := NewUevents(fs)
	for name, read := range map[string]func() error{
		"stat":     reading(NewStat(fs)),
		"cpu-256":  reading(NewStat(treeOf("cpu-256"))),
		"meminfo":  reading(NewMeminfo(fs)),
		"loadavg":  reading(NewLoadavg(fs)),
		"uptime":   reading(NewUptime(fs)),
		"pressure": reading(NewPressure(fs, "io")),
		"cpufreq":  reading(NewCPUFreq(freq)),
		"net":      listing(NewNetDev(fs).Read),
		"disks":    listing(NewDiskStats(fs).Read),
		"wireless": listing(NewWireless(fs).Read),
		"mpp":      listing(NewMPP(fs).Read),
		"route":    listing(NewRoutes(fs).Read),
		"route6":   listing(NewRoutes6(fs).Read),
		"uevents":  func() error { uevents.Moved(); return nil },
		"eMMC":     func() error { _, err := emmc[0].LifeTime.Read(); return err },
		"service":  func() error { _, err := group.Read(true); return err },
	} {
		if err := read(); err != nil { // grows the buffers
			t.Errorf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = read() }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func reading[T any](r *Reader[T]) func() error {
	return func() error {
		_, err := r.Read()
		return err
	}
}

func listing[T any](read func() ([]T, error)) func() error {
	return func() error {
		_, err := read()
		return err
	}
}

func BenchmarkReaders(b *testing.B) {
	fs := FS{Proc: "/proc", Sys: "/sys"}
	for _, c := range []struct {
		name string
		read func() error
	}{
		{"stat", reading(NewStat(fs))},
		{"stat-256-cores", reading(NewStat(treeOf("cpu-256")))},
		{"meminfo", reading(NewMeminfo(fs))},
		{"loadavg", reading(NewLoadavg(fs))},
		{"uptime", reading(NewUptime(fs))},
		{"pressure", reading(NewPressure(fs, "io"))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
