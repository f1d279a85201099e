package proc

import (
	"math"
	"testing"
)

func TestUptime(t *testing.T) {
	t.Parallel()
	if up, err := NewUptime(treeOf("rk3588")).Read(); err != nil || *up != 7345.62 {
		t.Errorf("got %v, %v, want 7345.62", up, err)
	}
	fs := treeOf("truncated")
	_, err := NewUptime(fs).Read()
	wantParseError(t, err, fs.ProcPath("uptime"), 1)
	var up float64
	for _, text := range []string{"", "\n", "-1 0", "1e9 0", "x"} {
		wantParseError(t, parseUptime([]byte(text), &up), "", 1)
	}
}

func FuzzParseUptime(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		var up float64
		if parseUptime(text, &up) == nil && (!(up >= 0) || math.IsInf(up, 0)) {
			t.Errorf("%q gives %v", text, up)
		}
	}, "*/proc/uptime")
}
