package sample

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"belabox-metrics/shared/config"
)

// netDev makes the text of /proc/net/dev with these lines.
func netDev(lines ...string) string {
	return "Inter-|   Receive |  Transmit\n face |bytes packets|bytes packets\n" + strings.Join(lines, "\n") + "\n"
}

// netLine makes the line of one interface, all of whose counters are n.
func netLine(name string, n uint64) string {
	return name + ":" + strings.Repeat(fmt.Sprint(" ", n), 16)
}

func TestNetwork_Filters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		opt  config.NetworkConfig
		want []string
	}{
		{"defaults", networkConfig(), []string{"end0", "wlan0"}},
		{"modems back", networkConfig(func(c *config.NetworkConfig) { c.Include = []string{"wwan.*"} }), []string{"end0", "wlan0", "wwan0"}},
		{"everything", networkConfig(func(c *config.NetworkConfig) { c.Exclude = []string{} }), []string{"docker0", "end0", "lo", "usb0", "veth1a2b3c4", "wlan0", "wwan0"}},
		{"own excludes", networkConfig(func(c *config.NetworkConfig) { c.Exclude = []string{"wlan0", "lo", "d.*", "v.*"} }), []string{"end0", "usb0", "wwan0"}},
		{"only one", networkConfig(func(c *config.NetworkConfig) { c.Include, c.Exclude = []string{"end0"}, []string{".*"} }), []string{"end0"}},
		{"part of a name", networkConfig(func(c *config.NetworkConfig) { c.Include = []string{"docker", "wwan"} }), []string{"end0", "wlan0"}},
	} {
		r := newMachine(t).tick(must(NewNetwork(treeOf("rk3588"), testDevice, c.opt)))
		r.wantFaults(t, 0)
		if got := r.labelled("interface"); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNetwork_DefaultExcludes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	var lines []string
	for _, name := range []string{
		"lo", "docker0", "docker_gwbridge", "veth0a1b", "br-0a1b2c", "wlan0mon", "wlan1mon", "virbr0", "virbr0-nic",
		"wwan0", "wwp0s20f0u6", "usb0", // out
		"eth0", "end0", "enp3s0", "wlan0", "wlp2s0", "br0", "bond0", "tun0", "wg0", "lo0", "enx0016",
	} {
		lines = append(lines, netLine(name, 1))
	}
	m.write("proc/1/net/dev", netDev(lines...))
	want := []string{"bond0", "br0", "end0", "enp3s0", "enx0016", "eth0", "lo0", "tun0", "wg0", "wlan0", "wlp2s0"}
	if got := m.tick(must(NewNetwork(m.fs(), testDevice, networkConfig()))).labelled("interface"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An interface that is renamed is one that goes and one that comes. What is not sampled says
// nothing.
func TestNetwork_CameAndGone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	f := func(names, came, gone []string) {
		t.Helper()
		var lines []string
		for _, name := range names {
			lines = append(lines, netLine(name, 1))
		}
		m.write("proc/1/net/dev", netDev(lines...))
		var out Batch
		if err := network.Collect(m.at, &out); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out.Came, came) || !slices.Equal(out.Gone, gone) {
			t.Errorf("%q: got %q come and %q gone, want %q and %q", names, out.Came, out.Gone, came, gone)
		}
	}
	f([]string{"eth0", "wan0"}, nil, nil)
	f([]string{"eth0", "wan0", "veth1"}, nil, nil)
	f([]string{"eth0", "lan9"}, []string{"lan9"}, []string{"wan0"})
	f([]string{"eth0", "lan9"}, nil, nil)
	f([]string{"eth0"}, nil, []string{"lan9"})
	f([]string{"eth0", "wan0"}, []string{"wan0"}, nil)
}

// TestNetwork_SwappedNames: two modems swap their names between two ticks, and each has counted
// more than the other had. The numbers of one minus those of the other are no rate.
func TestNetwork_SwappedNames(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	lay := func(index1, index2 string, n1, n2 uint64) Batch {
		t.Helper()
		for name, index := range map[string]string{"eth1": index1, "eth2": index2} {
			m.remove("sys/class/net/" + name) // another file, as that of another device is
			m.write("sys/class/net/"+name+"/ifindex", index+"\n")
		}
		m.write("proc/1/net/dev", netDev(netLine("eth0", n2), netLine("eth1", n1), netLine("eth2", n2)))
		m.at = m.at.Add(time.Second)
		var out Batch
		out.Begin(m.at, nil)
		if err := network.Collect(m.at, &out); err != nil || len(out.Errors) > 0 {
			t.Fatal(err, out.Errors)
		}
		return out
	}
	rate := func(out Batch, name string) any {
		return valuesOf(out.Samples)[`network.receive_packets_per_second{"interface":"`+name+`"}`]
	}
	lay("5", "6", 1000, 500_000)
	if out := lay("5", "6", 1100, 500_100); rate(out, "eth1") != 100.0 || rate(out, "eth2") != 100.0 {
		t.Errorf("got %v", out.Samples)
	}
	out := lay("6", "7", 500_200, 500_300) // eth2 is a third one, which has counted more than either
	if rate(out, "eth0") != 200.0 || rate(out, "eth1") != nil || rate(out, "eth2") != nil {
		t.Errorf("swapped: %v", out.Samples)
	}
	if v := valuesOf(out.Samples)[`network.receive_packets_total{"interface":"eth1"}`]; v != 500_200.0 {
		t.Errorf("total %v", v)
	}
	names := []string{"eth1", "eth2"}
	if slices.Sort(out.Gone); !slices.Equal(out.Gone, names) || !slices.Equal(out.Came, names) {
		t.Errorf("gone %v, came %v", out.Gone, out.Came)
	}
	if out := lay("6", "7", 500_300, 500_400); rate(out, "eth1") != 100.0 || rate(out, "eth2") != 100.0 {
		t.Errorf("the tick after: %v", out.Samples)
	}
	if out := lay("", "7", 500_400, 500_500); rate(out, "eth1") != 100.0 { // sysfs is not there to ask
		t.Errorf("without an ifindex: %v", out.Samples)
	}
}

// TestNetwork_Uevents: as long as the kernel counts no event, nobody looks at the interfaces. After
// one everybody is looked at, and again as long as one of them cannot be.
func TestNetwork_Uevents(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	n := uint64(0)
	f := func(events, index string, wantRate bool) {
		t.Helper()
		m.write("sys/kernel/uevent_seqnum", events)
		if m.remove("sys/class/net/eth1"); index != "" {
			m.write("sys/class/net/eth1/ifindex", index)
		}
		n += 100
		m.write("proc/1/net/dev", netDev(netLine("eth1", n)))
		r := m.tick(network)
		r.wantFaults(t, 0)
		if _, ok := r.values[`network.receive_packets_per_second{"interface":"eth1"}`]; ok != wantRate {
			t.Errorf("events %q, index %q: rate %v, want %v", events, index, ok, wantRate)
		}
	}
	f("70\n", "5\n", false)
	f("70\n", "5\n", true)
	f("70\n", "6\n", true)  // cannot be: a name changes hands with an event
	f("71\n", "6\n", false) // but is seen with the next one
	f("72\n", "6\n", true)  // of something else
	f("73\n", "", true)     // it is about to go
	f("73\n", "6\n", true)  // or not
	f("74\n", "", true)
	f("74\n", "7\n", false) // another one came before its event
	f("74\n", "7\n", true)
	f("", "8\n", false) // the number cannot be read
	f("74\n", "9\n", false)
	f("74\n", "9\n", true)
}

func TestNetwork_Values(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	m.write("proc/1/net/dev", netDev("eth0: 1000 10 1 2 90 91 92 93 2000 20 3 4 94 95 96 97"))
	totals := func(rb, rp, tb, tp float64) map[string]float64 {
		return map[string]float64{
			`network.receive_bytes_total{"interface":"eth0"}`:    rb,
			`network.receive_packets_total{"interface":"eth0"}`:  rp,
			`network.receive_errors_total{"interface":"eth0"}`:   1,
			`network.receive_drops_total{"interface":"eth0"}`:    2,
			`network.transmit_bytes_total{"interface":"eth0"}`:   tb,
			`network.transmit_packets_total{"interface":"eth0"}`: tp,
			`network.transmit_errors_total{"interface":"eth0"}`:  3,
			`network.transmit_drops_total{"interface":"eth0"}`:   4,
			`network.interfaces_dropped_total`:                   0,
		}
	}
	m.tick(network).want(t, "network.", totals(1000, 10, 2000, 20))
	m.write("proc/1/net/dev", netDev("eth0: 1500 15 1 2 90 91 92 93 2700 27 3 4 94 95 96 97"))
	want := totals(1500, 15, 2700, 27)
	want[`network.receive_bytes_per_second{"interface":"eth0"}`] = 500
	want[`network.receive_packets_per_second{"interface":"eth0"}`] = 5
	want[`network.transmit_bytes_per_second{"interface":"eth0"}`] = 700
	want[`network.transmit_packets_per_second{"interface":"eth0"}`] = 7
	m.tick(network).want(t, "network.", want)
}

// TestNetwork_CardinalityCap: of 40 interfaces 32 are sampled, physical ones first,
// and the other 8 are counted.
func TestNetwork_CardinalityCap(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "net-40-interfaces")
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	first := m.tick(network)
	got := first.labelled("interface")
	if len(got) != 32 {
		t.Fatalf("%d interfaces, want 32: %q", len(got), got)
	}
	for _, name := range []string{"lte9", "vlan37"} { // last in the file, but with hardware
		if !slices.Contains(got, name) {
			t.Errorf("no %s among %q", name, got)
		}
	}
	for range 3 { // each counts once, however many ticks it is left out
		r := m.tick(network)
		r.wantFaults(t, 0)
		r.want(t, "network.interfaces_dropped", map[string]float64{"network.interfaces_dropped_total": 8})
		if again := r.labelled("interface"); !slices.Equal(again, got) {
			t.Errorf("the choice changed: %q, then %q", got, again)
		}
	}
}

func TestNetwork_CardinalityCapIsStable(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	network := must(NewNetwork(m.fs(), testDevice, networkConfig(func(c *config.NetworkConfig) { c.MaxInterfaces = 2 })))
	step := func(wantDropped float64, want []string, names ...string) {
		t.Helper()
		var lines []string
		for _, name := range names {
			lines = append(lines, netLine(name, 1))
		}
		m.write("proc/1/net/dev", netDev(lines...))
		r := m.tick(network)
		if got := r.labelled("interface"); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", names, got, want)
		}
		r.want(t, "network.interfaces_dropped", map[string]float64{"network.interfaces_dropped_total": wantDropped})
	}
	step(0, []string{"tun1", "tun2"}, "tun2", "tun1")
	step(1, []string{"tun1", "tun2"}, "tun0", "tun2", "tun1") // the new one has the first name, but no place
	step(1, []string{"tun0", "tun2"}, "tun0", "tun2")         // a place is free
	m.write("sys/class/net/zzz0/device/uevent", "")
	step(2, []string{"tun0", "zzz0"}, "tun0", "tun2", "zzz0") // hardware takes a place
	step(3, []string{"tun0", "zzz0"}, "tun0", "tun1", "tun2", "zzz0")
	step(3, []string{"tun1", "tun2"}, "tun1", "tun2")
}

func TestNetwork_PlaceLostAndWonAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("sys/class/net/eth0/device/uevent", "")
	network := must(NewNetwork(m.fs(), testDevice, networkConfig(func(c *config.NetworkConfig) { c.MaxInterfaces = 1 })))
	const rate = `network.receive_bytes_per_second`
	m.write("proc/1/net/dev", netDev(netLine("tun0", 100)))
	m.tick(network)
	m.write("proc/1/net/dev", netDev(netLine("tun0", 200), netLine("eth0", 5)))
	m.tick(network).want(t, rate, map[string]float64{})
	m.write("proc/1/net/dev", netDev(netLine("tun0", 900)))
	m.tick(network).want(t, rate, map[string]float64{}) // not over the time in which nobody looked
	m.write("proc/1/net/dev", netDev(netLine("tun0", 950)))
	m.tick(network).want(t, rate, map[string]float64{rate + `{"interface":"tun0"}`: 50})
}

func TestNetwork_WrapGivesNoRate(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "net-counter-wrap")
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	m.tick(network)
	m.lay("net-counter-wrap-later")
	r := m.tick(network)
	r.wantFaults(t, 0)
	// eth0 counts in 32 bits and wrapped; eth1 counts in 64 and went past 2^32.
	r.want(t, "network.receive_bytes_per_second", map[string]float64{
		`network.receive_bytes_per_second{"interface":"eth1"}`: 1000,
	})
	r.want(t, "network.transmit_packets_per_second", map[string]float64{
		`network.transmit_packets_per_second{"interface":"eth1"}`: 10,
	})
}

func TestNetwork_Renamed(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "net-renamed")
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	m.tick(network)
	m.lay("net-renamed-later")
	r := m.tick(network)
	if got := r.labelled("interface"); !slices.Equal(got, []string{"end0"}) {
		t.Errorf("got %q", got)
	}
	r.want(t, "network.receive_bytes_per_second", map[string]float64{})
	m.lay("net-renamed") // and back: the readings from before are forgotten
	m.tick(network).want(t, "network.receive_bytes_per_second", map[string]float64{})
}

func TestNetwork_OddNames(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(must(NewNetwork(treeOf("net-odd-names"), testDevice, networkConfig())))
	r.wantFaults(t, 0)
	for key, want := range map[string]float64{
		`{"interface":"eth0"}`: 1234567890, `{"interface":"eth0:1"}`: 77, `{"interface":"a|b"}`: 11,
		`{"interface":"x\\xffy"}`: 33, `{"interface":"über"}`: 55,
	} {
		if got := r.values["network.receive_bytes_total"+key]; got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}

func TestNetwork_BadLines(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "net-truncated")
	network := must(NewNetwork(m.fs(), testDevice, networkConfig()))
	r := m.tick(network)
	r.wantFaults(t, 1)
	if got := r.labelled("interface"); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("got %q", got)
	}
	m.write("proc/net/dev", "nonsense\n")
	if r := m.tick(network); r.err == nil || len(r.values) > 0 {
		t.Errorf("got %v, %v", r.values, r.err)
	}
	m.write("proc/net/dev", netDev(netLine("eth0", 1), netLine("eth0", 2)))
	m.tick(network).wantFaults(t, 0) // an interface named twice is sampled once
	m.remove("proc/net/dev")
	if r := m.tick(must(NewNetwork(m.fs(), testDevice, networkConfig()))); !os.IsNotExist(r.err) {
		t.Errorf("got %v", r.err)
	}
}

func TestNewNetwork_AllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := NewNetwork(treeOf("rk3588"), testDevice, config.NetworkConfig{
		Include: []string{"a("}, Exclude: []string{"b["},
	})
	for _, key := range []string{"network.include", "network.exclude"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("got %v, want a word of %s", err, key)
		}
	}
}

// TestNetwork_NeverAbsurd lets interfaces come, go, wrap and be reset.
func TestNetwork_NeverAbsurd(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(rt, "limit")
		network := must(NewNetwork(m.fs(), testDevice, networkConfig(func(c *config.NetworkConfig) { c.MaxInterfaces = limit })))
		lastDropped := 0.0
		for range rapid.IntRange(1, 6).Draw(rt, "ticks") {
			var lines []string
			names := rapid.SliceOfNDistinct(rapid.StringMatching(`t[a-f]`), 1, 6, rapid.ID).Draw(rt, "names")
			for _, name := range names {
				lines = append(lines, netLine(name, rapid.Uint64Range(0, 1e9).Draw(rt, "counter")))
			}
			m.write("proc/1/net/dev", netDev(lines...))
			r := m.tick(network)
			if got, want := len(r.labelled("interface")), min(limit, len(names)); got != want {
				rt.Fatalf("%d interfaces of %d at a limit of %d", got, len(names), limit)
			}
			for key, v := range r.values {
				if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
					rt.Fatalf("%s = %v", key, v)
				}
			}
			dropped := r.values["network.interfaces_dropped_total"]
			if dropped < lastDropped || dropped == lastDropped && lastDropped == 0 && len(names) > limit {
				rt.Fatalf("dropped went from %v to %v with %d names at a limit of %d", lastDropped, dropped, len(names), limit)
			}
			lastDropped = dropped
		}
	})
}

func TestNetwork_AllocatesNothing(t *testing.T) {
	wantNoAllocations(t, must(NewNetwork(treeOf("net-40-interfaces"), testDevice, networkConfig())))
}

func BenchmarkNetwork(b *testing.B) {
	for _, tree := range []string{"rk3588", "net-40-interfaces"} {
		b.Run(tree, func(b *testing.B) {
			benchCollector(b, must(NewNetwork(treeOf(tree), testDevice, networkConfig())))
		})
	}
}
