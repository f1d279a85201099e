package sample

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/testkit"
)

// boards are the trees of whole machines.
var boards = []string{"rk3588", "jetsonorin", "raspberrypi4", "raspberrypi5"}

// boardConfig reads what boards have beside what every machine has.
func boardConfig(tree string) *config.Config {
	cfg := only("thermal", "hwmon", "link", "board", "services")
	cfg.Services = []string{"belaUI.service", "srtla*", "belacoder*"}
	return readingTree(cfg, treeOf(tree))
}

// TestBoards compares the first tick with testdata/boards; with -update it writes the files. What
// is not in the second tick is read once a minute.
func TestBoards(t *testing.T) {
	t.Parallel()
	for _, tree := range boards {
		collectors, err := New(boardConfig(tree), "dev")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, c := range collectors {
			at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
			r, second := collectAt(t, c, at), collectAt(t, c, at.Add(time.Second))
			if r.err != nil || len(r.errs) > 0 {
				t.Errorf("%s of %s: %v, %v", c.Name(), tree, r.err, r.errs)
			}
			for _, key := range sorted(r.values) {
				often := ""
				if _, again := second.values[key]; !again {
					often = ", once a minute"
				}
				if !strings.HasPrefix(key, "services.start_time_seconds") { // of the file on this disk
					lines = append(lines, fmt.Sprintf("%s %v%s\n", key, r.values[key], often))
				}
			}
		}
		testkit.Golden(t, "boards/"+tree+".txt", []byte(strings.Join(lines, "")))
	}
}

// TestBoards_OnceAMinute: each series has a sample in every tick, or only in the first of each
// minute.
func TestBoards_OnceAMinute(t *testing.T) {
	t.Parallel()
	for _, tree := range boards {
		onceAMinute(t, tree, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
		onceAMinute(t, tree, time.Unix(0, 0)) // the clock was never set
	}
}

func onceAMinute(t *testing.T, tree string, start time.Time) {
	t.Helper()
	collectors, err := New(boardConfig(tree), "dev")
	if err != nil {
		t.Fatal(err)
	}
	const seconds = 120
	seen := map[string][]int{}
	for second := range seconds {
		for _, c := range collectors {
			for key := range collectAt(t, c, start.Add(time.Duration(second)*time.Second)).values {
				seen[key] = append(seen[key], second)
			}
		}
	}
	rare := 0
	for key, at := range seen {
		switch {
		case len(at) == seconds:
		case slices.Equal(at, []int{0, 60}):
			rare++
		default:
			t.Errorf("%s of %s at %v", key, tree, at)
		}
	}
	if rare == 0 || rare == len(seen) {
		t.Errorf("%s: %d of %d once a minute", tree, rare, len(seen))
	}
}

// TestBoards_NothingThere: no sample, no fault and no error but that there is nothing.
func TestBoards_NothingThere(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	cfg := boardConfig("rk3588")
	cfg.Services = nil
	collectors, err := New(readingTree(cfg, m.fs()), "dev")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range collectors {
		for range 2 {
			if r := m.tick(c); !errors.Is(r.err, proc.ErrNotSupported) || len(r.errs)+len(r.values) > 0 {
				t.Errorf("%s: got %v, %v, %v", c.Name(), r.values, r.errs, r.err)
			}
		}
	}
	// With a configured service and no control groups there is nothing to say either.
	if r := m.tick(must(NewServices(m.fs(), testDevice, []string{"x"}))); !errors.Is(r.err, proc.ErrNotSupported) {
		t.Errorf("services: got %v", r.err)
	}
}

func TestBoard_OddValues(t *testing.T) {
	t.Parallel()
	f := func(faults int, want map[string]float64, trees ...string) {
		t.Helper()
		m := newMachine(t, trees...)
		r := m.tick(NewBoard(m.fs(), testDevice))
		r.wantFaults(t, faults)
		r.want(t, "", want)
	}
	gpu := `{"device":"1.gpu","type":"gpu"}`
	f(5, map[string]float64{"devfreq.frequency_hertz" + gpu: 1e8}, "devfreq-odd")
	f(0, map[string]float64{`devfreq.load_percent{"device":"gpu.0","type":"gpu"}`: 100}, "devfreq-nano")
	f(4, map[string]float64{
		`emmc.life_used_percent{"device":"mmcblk1","memory":"a"}`: 100, `emmc.life_used_percent{"device":"mmcblk1","memory":"b"}`: 90,
		`emmc.pre_eol{"device":"mmcblk1"}`: 3,
	}, "emmc-odd")
	f(3, map[string]float64{
		`power.online{"supply":"AC"}`: 1, `power.capacity_percent{"supply":"BAT0"}`: 87, `power.voltage_volts{"supply":"BAT0"}`: 12.345,
		`power.current_amperes{"supply":"BAT0"}`: -1.52, `power.status{"supply":"BAT0"}`: 3,
	}, "power-battery")
}

// TestBoard_ComesAndGoes: a battery and the video engines are unplugged between ticks, which is no
// fault, and come back.
func TestBoard_ComesAndGoes(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "power-battery", "rk3588")
	m.remove("sys/class/power_supply/BAT1")
	c := NewBoard(m.fs(), testDevice)
	capacity, engine := `power.capacity_percent{"supply":"BAT0"}`, `mpp.load_percent{"engine":"fdbd0000.rkvenc-core"}`
	has := func(want bool) {
		t.Helper()
		r := m.tick(c)
		r.wantFaults(t, 0)
		_, hasCapacity := r.values[capacity]
		_, hasEngine := r.values[engine]
		if hasCapacity != want || hasEngine != want {
			t.Errorf("battery %v, engine %v, want %v", hasCapacity, hasEngine, want)
		}
	}
	has(true)
	m.remove("sys/class/power_supply/BAT0")
	m.remove("proc/mpp_service")
	// The files that are held open stay readable here; those of the kernel do not.
	board := c.(*board)
	for _, s := range board.sensors.sensors {
		if a, ok := s.reader.(*proc.Attribute); ok {
			a.Close()
		}
	}
	board.mpp.Close()
	has(false)
	has(false)
	m.lay("power-battery")
	m.remove("sys/class/power_supply/BAT1")
	m.lay("rk3588")
	m.at = m.at.Add(relistInterval)
	has(true)
}

func TestLink(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588")
	c := must(NewLink(m.fs(), testDevice, networkConfig()))
	route := func(name string) string {
		return `network.default_route{"family":"ipv4","interface":"` + name + `"}`
	}
	r := m.tick(c)
	r.wantFaults(t, 0)
	if got := r.labelled("interface"); !slices.Equal(got, []string{"end0", "wlan0", "wwan0"}) { // wwan0 for its route
		t.Errorf("interfaces %q", got)
	}
	v := values{}
	for key, value := range r.values {
		v[key] = value
	}
	v.want(t, values{route("end0"): 1.0, route("wlan0"): 0.0, route("wwan0"): 0.0, `network.up{"interface":"end0"}`: 1.0})

	// The cable is pulled: the route goes to wlan0, and end0 says so for good.
	m.write("proc/1/net/route", strings.ReplaceAll(m.read("proc/1/net/route"), "end0\t00000000", "end0\t0000A8C0"))
	m.write("sys/class/net/end0/operstate", "down\n")
	m.write("sys/class/net/end0/carrier_changes", "3\n")
	for range 3 {
		m.at = m.at.Add(time.Minute)
		r = m.tick(c)
		if r.values[route("end0")] != 0 || r.values[route("wlan0")] != 1 || r.values[`network.up{"interface":"end0"}`] != 0 ||
			r.values[`network.carrier_changes_total{"interface":"end0"}`] != 3 {
			t.Errorf("without a cable: %v", sorted(r.values))
		}
	}
	// Its file cannot be read: the state of the links still has samples.
	m.write("proc/1/net/route", "nonsense\n")
	m.at = m.at.Add(time.Minute)
	for range 3 {
		r = m.tick(c)
		r.wantFaults(t, 1)
		if _, ok := r.values[`network.up{"interface":"wlan0"}`]; !ok {
			t.Errorf("no state beside a bad table: %v", r.values)
		}
	}
}

// TestLink_Unplugged: an interface goes between two ticks, which is no fault, and comes back.
func TestLink_Unplugged(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588")
	c := must(NewLink(m.fs(), testDevice, networkConfig()))
	interfaces := func() []string {
		t.Helper()
		r := m.tick(c)
		r.wantFaults(t, 0)
		var up []string
		for key := range r.values {
			if name, ok := strings.CutPrefix(key, `network.up{"interface":"`); ok {
				up = append(up, strings.TrimSuffix(name, `"}`))
			}
		}
		slices.Sort(up)
		return up
	}
	if got := interfaces(); !slices.Equal(got, []string{"end0", "wlan0"}) {
		t.Errorf("got %q", got)
	}
	m.remove("sys/class/net/wlan0")
	for _, s := range c.(*link).sensors.sensors {
		s.reader.(*proc.Attribute).Close() // the kernel's files do not outlive their device
	}
	for range 3 {
		if got := interfaces(); !slices.Equal(got, []string{"end0"}) {
			t.Errorf("unplugged: got %q", got)
		}
	}
	m.lay("rk3588")
	m.write("sys/kernel/uevent_seqnum", "9999\n")
	m.at = m.at.Add(relistInterval)
	if got := interfaces(); !slices.Equal(got, []string{"end0", "wlan0"}) {
		t.Errorf("back: got %q", got)
	}
}

func TestLink_Limits(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588")
	m.remove("proc")
	c := must(NewLink(m.fs(), testDevice, networkConfig(func(c *config.NetworkConfig) { c.Exclude, c.MaxInterfaces = nil, 2 })))
	r := m.tick(c)
	r.wantFaults(t, 0)
	if got := r.labelled("interface"); !slices.Equal(got, []string{"end0", "usb0"}) { // those with hardware first
		t.Errorf("interfaces %q", got)
	}
	if _, err := NewLink(m.fs(), testDevice, config.NetworkConfig{Include: []string{"("}, Exclude: []string{")"}}); err == nil {
		t.Error("wrong expressions are no error")
	}
}

func TestBoards_AllocateNothing(t *testing.T) {
	for _, tree := range boards {
		collectors, err := New(boardConfig(tree), "dev")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range collectors {
			switch c.Name() {
			case "services": // looks for new units once a minute
				wantNoAllocations(t, c)
			case "board": // and this for video engines, where there are none
				if tree == "rk3588" {
					wantNoAllocationsEvery(t, time.Minute, c)
				}
			default:
				wantNoAllocationsEvery(t, time.Minute, c)
			}
		}
	}
}
