package proc

import (
	"math"
	"testing"
)

func TestWireless(t *testing.T) {
	t.Parallel()
	stats, err := NewWireless(treeOf("rk3588")).Read()
	if err != nil || len(stats) != 1 {
		t.Fatalf("got %+v, %v", stats, err)
	}
	if s := stats[0]; string(s.Name) != "wlan0" || s.Quality != 62 || s.Level != -48 || s.Noise != -256 {
		t.Errorf("got %+v", s)
	}
	if stats, err := NewWireless(treeOf("wireless-none")).Read(); err != nil || len(stats) != 0 {
		t.Errorf("no interface: got %+v, %v", stats, err)
	}
	if _, err := NewWireless(treeOf("net-renamed")).Read(); !isNotSupported(err) {
		t.Errorf("no file: %v, want ErrNotSupported", err)
	}
	fs := treeOf("wireless-truncated")
	stats, err = NewWireless(fs).Read()
	if len(stats) != 1 || stats[0].Noise != -95 {
		t.Errorf("truncated: got %+v", stats)
	}
	wantParseError(t, err, fs.ProcPath("net/wireless"), 4)
}

func TestParseWireless_Malformed(t *testing.T) {
	t.Parallel()
	const header = "Inter-| sta-|\n face | tus |\n"
	for _, c := range []struct {
		name, text string
		line       int
	}{
		{"empty", "", 1},
		{"no colon", header + "wlan0 0000 54. -56. -95. 0\n", 3},
		{"no noise", header + "wlan0: 0000 54. -56.\n", 3},
		{"noise may be cut", header + "wlan0: 0000 54. -56. -9", 3},
	} {
		stats, err := parseWireless([]byte(c.text), nil)
		if len(stats) > 0 {
			t.Errorf("%s: got %+v", c.name, stats)
		}
		wantParseError(t, err, "", c.line)
	}
}

func TestParseWireless_BadNumberCostsOnlyItself(t *testing.T) {
	t.Parallel()
	stats, err := parseWireless([]byte("Inter-| sta-|\n face | tus |\nwlan0: 0000 54.. good -95. 0\n"), nil)
	wantParseError(t, err, "", 3)
	if len(stats) != 1 || !math.IsNaN(stats[0].Quality) || !math.IsNaN(stats[0].Level) || stats[0].Noise != -95 {
		t.Errorf("got %+v", stats)
	}
}

func TestSignalDBm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		printed, want float64
		ok            bool
	}{
		{-56, -56, true},   // a driver that says dBm
		{-1, -1, true},     //
		{-255, -255, true}, //
		{-256, 0, false},   // the same, with nothing measured
		{200, -56, true},   // a driver of old: a byte in two's complement
		{128, -128, true},  //
		{255, -1, true},    //
		{67, 0, false},     // a scale of the driver's own
		{127, 0, false},    //
		{0, 0, false},      // nothing measured
		{256, 0, false},    // no byte
		{-9999, 0, false},  //
	} {
		if got, ok := SignalDBm(c.printed); got != c.want || ok != c.ok {
			t.Errorf("%v: got %v, %v, want %v, %v", c.printed, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseWireless(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		stats, err := parseWireless(text, nil)
		for _, s := range stats {
			for _, v := range []float64{s.Quality, s.Level, s.Noise} {
				if math.IsInf(v, 0) || math.IsNaN(v) && err == nil {
					t.Errorf("got %+v", s)
				}
				if dBm, ok := SignalDBm(v); ok && (dBm >= 0 || dBm < -256) {
					t.Errorf("%v became %v dBm", v, dBm)
				}
			}
		}
		if rest, headerErr := skipNetHeader(text); headerErr == nil {
			wantLinesCounted(t, rest, len(stats), err)
		}
	}, "*/proc/net/wireless", "*/proc/1/net/wireless")
}
