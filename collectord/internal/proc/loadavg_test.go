package proc

import (
	"math"
	"testing"
)

func TestLoadavg(t *testing.T) {
	t.Parallel()
	l, err := NewLoadavg(treeOf("rk3588")).Read()
	if want := (Loadavg{2.31, 1.97, 0.85}); err != nil || *l != want {
		t.Errorf("got %+v, %v, want %+v", l, err, want)
	}
	fs := treeOf("truncated")
	_, err = NewLoadavg(fs).Read()
	wantParseError(t, err, fs.ProcPath("loadavg"), 1)
	for _, text := range []string{"", "1 2", "1 2 x", "1 2 -3", "1 2 NaN"} {
		wantParseError(t, parseLoadavg([]byte(text), &Loadavg{}), "", 1)
	}
}

func FuzzParseLoadavg(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		var l Loadavg
		if parseLoadavg(text, &l) != nil {
			return
		}
		for _, v := range []float64{l.One, l.Five, l.Fifteen} {
			if !(v >= 0) || math.IsInf(v, 0) {
				t.Errorf("%q gives %v", text, v)
			}
		}
	}, "*/proc/loadavg")
}
