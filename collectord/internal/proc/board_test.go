package proc

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// readingOf returns what an attribute reads, or why it reads nothing: "-" if it is not there,
// "none" if the driver has no value, "fault" for any other error.
func readingOf(a *Attribute) string {
	if a == nil {
		return "-"
	}
	v, err := a.Read()
	switch {
	case isNotSupported(err):
		return "none"
	case err != nil:
		return "fault"
	}
	return fmt.Sprint(v)
}

func wantReadings(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

func TestDevfreqDevices(t *testing.T) {
	t.Parallel()
	f := func(tree string, want ...string) {
		t.Helper()
		devices, err := DevfreqDevices(treeOf(tree))
		if err != nil {
			t.Errorf("%s: %v", tree, err)
		}
		var got []string
		for _, d := range devices {
			got = append(got, d.Name+" "+d.Type+" "+readingOf(d.Frequency)+" "+readingOf(d.Load))
		}
		wantReadings(t, tree, got, want...)
	}
	f("rk3588",
		"dmc dmc 5.28e+08 11", "fb000000.gpu gpu 3e+08 23", "fdab0000.npu npu 1e+09 0",
		"fdbd0000.rkvenc-core rkvenc-core 7.86431991e+08 -", "fdbe0000.rkvenc-core rkvenc-core 7.86431991e+08 -", "fdd90000.vop vop 5e+08 -")
	f("jetsonorin", // the link gpu.0 is the same GPU again
		"15340000.vic vic 1.152e+08 -", "15480000.nvdec nvdec 2.944e+08 -", "154c0000.nvenc nvenc 2.944e+08 -", "17000000.gpu gpu 3.05997e+08 18.3")
	f("devfreq-nano", "gpu.0 gpu - 100")
	f("devfreq-odd", "1.gpu gpu 1e+08 fault", "fb000000.gpu gpu fault fault", "fdab0000.npu npu -1 101") // ranges are checked elsewhere
	f("raspberrypi4")
	for name, want := range map[string]string{"17000000.ga10b": "gpu", "gpu": "gpu", "a.b.gv11b": "gpu", "": "", "x.": ""} {
		if got := devfreqType(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestThrottled(t *testing.T) {
	t.Parallel()
	a := Throttled(treeOf("raspberrypi4"))
	if got := readingOf(a); got != fmt.Sprint(0xd0005) {
		t.Errorf("Raspberry Pi 4: %s", got)
	}
	if a := Throttled(treeOf("raspberrypi5")); a != nil {
		t.Errorf("Raspberry Pi 5: %s", a.Path())
	}
	fs := FS{Sys: t.TempDir()}
	writeFile(t, fs.SysPath("devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"), "0x0\n")
	if got := readingOf(Throttled(fs)); got != "0" {
		t.Errorf("path of a Raspberry Pi 5: %s", got)
	}
	for _, text := range []string{"", "\n", "x", "throttled=0x0", "-1", "100000000", "0 0"} {
		if v, err := parseHex([]byte(text)); err == nil {
			t.Errorf("%q: got %v", text, v)
		}
	}
}

func TestEMMCs(t *testing.T) {
	t.Parallel()
	f := func(tree string, want ...string) {
		t.Helper()
		list, err := EMMCs(treeOf(tree))
		if err != nil {
			t.Errorf("%s: %v", tree, err)
		}
		var got []string
		for _, e := range list {
			var s strings.Builder
			s.WriteString(e.Device)
			if v, err := e.LifeTime.Read(); err != nil {
				s.WriteString(" fault")
			} else {
				used, ok := EMMCLifeTime(v)
				for i := range used {
					if ok[i] {
						s.WriteString(fmt.Sprintf(" %v", used[i]))
					} else {
						s.WriteString(" -")
					}
				}
			}
			got = append(got, s.String()+" "+readingOf(e.PreEOL))
		}
		wantReadings(t, tree, got, want...)
	}
	f("rk3588", "mmcblk0 0 10 1")
	f("jetsonorin", "mmcblk0 90 20 2")
	f("emmc-odd", "mmcblk0 - - none", "mmcblk1 100 90 3", "mmcblk2 fault 4", "mmcblk3 fault fault")
	f("raspberrypi4") // an SD card
	f("cpu-256")
}

func TestPowerSupplies(t *testing.T) {
	t.Parallel()
	f := func(tree string, want ...string) {
		t.Helper()
		list, err := PowerSupplies(treeOf(tree))
		if err != nil {
			t.Errorf("%s: %v", tree, err)
		}
		var got []string
		for _, p := range list {
			got = append(got, fmt.Sprintf("%s %s %s %s %s %s", p.Name,
				readingOf(p.Online), readingOf(p.Capacity), readingOf(p.Voltage), readingOf(p.Current), readingOf(p.Status)))
		}
		wantReadings(t, tree, got, want...)
	}
	f("power-battery", "AC 1 - - - -", "BAT0 - 87 12.345 -1.52 3", "BAT1 - 130 fault - fault")
	f("rk3588", "tcpm-source-psy-4-0022 1 - 12 3 -")
	f("raspberrypi4")
}

func TestWatchdogsAndCooling(t *testing.T) {
	t.Parallel()
	list, err := Watchdogs(treeOf("raspberrypi4"))
	if err != nil || len(list) != 1 || readingOf(list[0].BootStatus) != "32" {
		t.Errorf("got %v, %v", list, err)
	}
	fs := FS{Sys: t.TempDir()}
	writeFile(t, fs.SysPath("class/thermal/cooling_device0/cur_state"), "-1 2\n")
	writeFile(t, fs.SysPath("class/thermal/cooling_device1/max_state"), "\n")
	cooling, err := CoolingDevices(fs)
	if err != nil || len(cooling) != 2 || readingOf(cooling[0].State)+readingOf(cooling[0].MaxState)+readingOf(cooling[1].MaxState) != "fault-fault" {
		t.Errorf("got %v, %v", cooling, err)
	}
}

func TestNetClass(t *testing.T) {
	t.Parallel()
	f := func(tree, name, want string) {
		t.Helper()
		n := NewNetClass(treeOf(tree), name)
		if got := readingOf(n.Up) + " " + readingOf(n.CarrierChanges) + " " + readingOf(n.Speed); got != want {
			t.Errorf("%s of %s: got %s, want %s", name, tree, got, want)
		}
	}
	f("rk3588", "end0", "1 2 1.25e+08")
	f("rk3588", "usb0", "-1 1 none")
	f("raspberrypi4", "eth0", "0 4 none")
	f("raspberrypi4", "wlan0", "1 3 -")
	f("raspberrypi4", "eth9", "- - -")
	for text, want := range map[string]string{"4294967295\n": "none", "0\n": "none", "": "fault", "fast\n": "fault", "1 2\n": "fault"} {
		fs := FS{Sys: t.TempDir()}
		writeFile(t, fs.SysPath("class/net/x/speed"), text)
		writeFile(t, fs.SysPath("class/net/x/operstate"), "UP"+text)
		n := NewNetClass(fs, "x")
		if got := readingOf(n.Speed); got != want || readingOf(n.Up) != "fault" {
			t.Errorf("speed %q: got %s, want %s", text, got, want)
		}
	}
}

// TestAttribute_ComesAndGoes: a device that went is an error that says so, and one that came back
// under its name is read.
func TestAttribute_ComesAndGoes(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/dir/value"
	if a := newAttribute(path, whole); a != nil {
		t.Error("an attribute without a file")
	}
	writeFile(t, path, "1\n")
	a := newAttribute(path, whole)
	if got := readingOf(a); got != "1" {
		t.Errorf("got %s", got)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	a.Close() // as after an error of the kernel
	if _, err := a.Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gone: got %v", err)
	}
	writeFile(t, path, "2\n")
	if got := readingOf(a); got != "2" {
		t.Errorf("back: got %s", got)
	}
}

func TestMPP(t *testing.T) {
	t.Parallel()
	loads, err := NewMPP(treeOf("rk3588")).Read()
	if err != nil || len(loads) != 13 {
		t.Fatalf("got %d engines, %v", len(loads), err)
	}
	if l := loads[8]; string(l.Device) != "fdbd0000.rkvenc-core" || l.Load != 22.18 || l.Utilization != 21.63 {
		t.Errorf("got %s %+v", l.Device, l)
	}
	for _, tree := range []string{"mpp-not-armed", "raspberrypi5"} {
		if loads, err := NewMPP(treeOf(tree)).Read(); !isNotSupported(err) {
			t.Errorf("%s: got %v, %v", tree, loads, err)
		}
	}
	loads, err = parseMPP([]byte("a.b load: 150.00% utilization: 1.5%\nc load:\nd load: x% utilization: 1%\ne load: 1 utilization: 2%\nf  load: 3% utilization: 4%"), nil)
	if err == nil || len(loads) != 2 || loads[0].Load != 150 || string(loads[1].Device) != "f" {
		t.Errorf("got %v, %v", loads, err)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	f := func(r *Routes, want string) {
		t.Helper()
		routes, err := r.Read()
		got := ""
		for _, d := range routes {
			got += fmt.Sprintf("%s %d, ", d.Interface, d.Metric)
		}
		if err != nil {
			got += "error"
		}
		if isNotSupported(err) {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: got %q (%v), want %q", r.file.path, got, err, want)
		}
	}
	f(NewRoutes(treeOf("rk3588")), "end0 100, wlan0 600, wwan0 700, ")
	f(NewRoutes6(treeOf("rk3588")), "end0 100, wlan0 600, ")
	f(NewRoutes6(treeOf("raspberrypi4")), "")
	f(NewRoutes(treeOf("route-odd")), "end3 5, end3 9, error")
	f(NewRoutes(treeOf("route-no-header")), "error")
	f(NewRoutes6(treeOf("route-odd")), "none")
}

func TestCGroups(t *testing.T) {
	t.Parallel()
	f := func(tree, unit, want string) {
		t.Helper()
		groups, err := NewCGroups(treeOf(tree))
		if err != nil {
			t.Fatal(err)
		}
		g, err := groups.Open(unit)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		s, err := g.Read(true)
		if got := fmt.Sprintf("%v %v %v %v %v", s.Populated, s.CPUSeconds, s.MemoryBytes, s.OOMKills, err); got != want || g.Started.IsZero() {
			t.Errorf("%s of %s: got %s, want %s", unit, tree, got, want)
		}
	}
	f("rk3588", "system.slice/belaUI.service", "true 5123.456789 7.340032e+07 0 <nil>")
	f("rk3588", "system.slice/srtla_send.service", "true 812.345678 6.291456e+06 1 <nil>")
	f("rk3588", "system.slice/srtla_rec.service", "false 0 0 0 <nil>")
	f("raspberrypi4", "system.slice/belaUI.service", "true 734.56789 NaN NaN <nil>") // started with cgroup_disable=memory
	f("cgroup-v1", "system.slice/belaUI.service", "true 5123.456789012 7.340032e+07 2 <nil>")
	f("cgroup-v1", "system.slice/srtla_send.service", "false NaN NaN NaN <nil>")

	groups, err := NewCGroups(treeOf("rk3588"))
	if err != nil {
		t.Fatal(err)
	}
	units, err := groups.Units()
	want := []string{
		"system.slice/belaUI.service", "system.slice/srtla_rec.service", "system.slice/srtla_send.service", "system.slice/ssh.service",
		"user.slice/user-1000.slice/user@1000.service", "user.slice/user-1000.slice/user@1000.service/app.slice/belacoder.service",
	}
	if !slices.Equal(units, want) || err != nil {
		t.Errorf("got %q, %v", units, err)
	}
	if _, err := NewCGroups(treeOf("cpu-256")); !isNotSupported(err) {
		t.Errorf("no control groups: %v", err)
	}
	if _, err := groups.Open("system.slice/none.service"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such group: %v", err)
	}
	if err := removed(&os.PathError{Op: "read", Path: "x", Err: syscall.ENODEV}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a group that is gone: %v", err)
	}
}

// TestCGroup_OddFiles: a bad number costs only itself.
func TestCGroup_OddFiles(t *testing.T) {
	t.Parallel()
	fs := FS{Sys: t.TempDir()}
	dir := fs.SysPath("fs/cgroup/system.slice/x.service")
	writeFile(t, fs.SysPath("fs/cgroup/cgroup.controllers"), "cpu\n")
	writeFile(t, dir+"/cgroup.events", "populated 1\n")
	writeFile(t, dir+"/cpu.stat", "user_usec 1\nusage_usec 18446744073709551615\n")
	writeFile(t, dir+"/memory.current", "max\n")
	writeFile(t, dir+"/memory.events", "oom 7\n")
	groups, err := NewCGroups(fs)
	if err != nil {
		t.Fatal(err)
	}
	g, err := groups.Open("system.slice/x.service")
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Read(true)
	if !s.Populated || !math.IsNaN(s.CPUSeconds) || !math.IsNaN(s.MemoryBytes) || !math.IsNaN(s.OOMKills) || err == nil {
		t.Errorf("got %+v, %v", s, err)
	}
	wantParseError(t, err, dir+"/cpu.stat", 2)
}

func FuzzBoard(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		for name, parse := range map[string]func([]byte) (float64, error){
			"whole": whole, "milli": scaled(1000), "hex": parseHex, "load": parseDevfreqLoad, "life": parseLifeTime, "eol": parsePreEOL,
			"status": parsePowerStatus, "operstate": parseOperstate, "speed": parseSpeed,
		} {
			if v, err := parse(text); err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Errorf("%s of %q: got %v", name, text, v)
			}
		}
		for _, key := range []string{"", "populated"} {
			if n, err := parseKey(text, key); err != nil && n != Absent {
				t.Errorf("%q of %q: got %d, %v", key, text, n, err)
			}
		}
		loads, _ := parseMPP(text, nil)
		for _, l := range loads {
			if math.IsNaN(l.Load) || math.IsNaN(l.Utilization) {
				t.Errorf("%q: got %v", text, l)
			}
		}
		for _, parse := range []func([]byte, []DefaultRoute) ([]DefaultRoute, error){parseRoutes, parseRoutes6} {
			routes, _ := parse(text, nil)
			for _, r := range routes {
				if len(r.Interface) == 0 {
					t.Errorf("%q: a route without an interface", text)
				}
			}
		}
	}, "*/proc/1/net/*route", "*/proc/net/*route", "*/proc/mpp_service/load", "*/sys/class/devfreq/*/*", "*/sys/block/*/device/*",
		"*/sys/class/power_supply/*/*", "*/sys/fs/cgroup/system.slice/*/*", "*/sys/devices/platform/soc/*/get_throttled", "*/sys/class/net/*/*e*")
}
