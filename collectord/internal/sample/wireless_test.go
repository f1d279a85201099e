package sample

import (
	"errors"
	"testing"

	"belabox-metrics/collectord/internal/proc"
)

func TestWireless_Boards(t *testing.T) {
	t.Parallel()
	for tree, want := range map[string][2]float64{"rk3588": {62, -48}, "raspberrypi5": {46, -64}} {
		r := newMachine(t).tick(NewWireless(treeOf(tree), testDevice))
		r.wantFaults(t, 0)
		r.want(t, "wireless.", map[string]float64{ // noise is −256: not measured
			`wireless.link_quality{"interface":"wlan0"}`: want[0],
			`wireless.signal_dbm{"interface":"wlan0"}`:   want[1],
		})
	}
}

func TestWireless_Scales(t *testing.T) {
	t.Parallel()
	r := newMachine(t).tick(NewWireless(treeOf("wireless-all-scales"), testDevice))
	r.wantFaults(t, 0)
	r.want(t, "wireless.", map[string]float64{
		`wireless.link_quality{"interface":"wlan0"}`: 54, // bytes in two's complement
		`wireless.signal_dbm{"interface":"wlan0"}`:   -56,
		`wireless.noise_dbm{"interface":"wlan0"}`:    -95,
		`wireless.link_quality{"interface":"wlan1"}`: 40, // a scale of the driver's own
		`wireless.link_quality{"interface":"wlan2"}`: 0,  // no link
		`wireless.link_quality{"interface":"wlan3"}`: 60, // values that are not new
		`wireless.signal_dbm{"interface":"wlan3"}`:   -50,
	})
}

func TestWireless_AbsentAndBad(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if r := m.tick(NewWireless(m.fs(), testDevice)); !errors.Is(r.err, proc.ErrNotSupported) || len(r.errs) > 0 {
		t.Errorf("no file: %v, %v, want ErrNotSupported alone", r.err, r.errs)
	}
	m.lay("wireless-none")
	wireless := NewWireless(m.fs(), testDevice)
	if r := m.tick(wireless); r.err != nil || len(r.errs) > 0 || len(r.values) > 0 {
		t.Errorf("no interface: %+v", r)
	}
	m.lay("wireless-truncated")
	r := m.tick(wireless)
	r.wantFaults(t, 1)
	r.want(t, "wireless.noise_dbm", map[string]float64{`wireless.noise_dbm{"interface":"wlan0"}`: -95})
	const header = "Inter-| sta-|\n face | tus |\n"
	m.write("proc/net/wireless", header+"wlan0: 0000 1. -1. 0 0\nwlan0: 0000 2. -2. 0 0\n") // named twice
	m.tick(wireless).want(t, "wireless.link", map[string]float64{`wireless.link_quality{"interface":"wlan0"}`: 1})
	m.write("proc/net/wireless", "nonsense\n")
	if r := m.tick(wireless); r.err == nil || errors.Is(r.err, proc.ErrNotSupported) {
		t.Errorf("nonsense: %v", r.err)
	}
}

func TestWireless_AllocatesNothing(t *testing.T) {
	wantNoAllocations(t, NewWireless(treeOf("rk3588"), testDevice))
}

func BenchmarkWireless(b *testing.B) {
	benchCollector(b, NewWireless(treeOf("rk3588"), testDevice))
}
