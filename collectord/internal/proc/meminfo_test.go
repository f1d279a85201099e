package proc

import (
	"errors"
	"testing"
)

func TestMeminfo(t *testing.T) {
	t.Parallel()
	const kB = 1024
	for name, want := range map[string]Meminfo{
		"rk3588":       {Total: 16092340 * kB, Available: 13987650 * kB, SwapTotal: 8046164 * kB, SwapFree: 8040000 * kB},
		"raspberrypi5": {Total: 8256640 * kB, Available: 7123456 * kB, SwapTotal: 204784 * kB, SwapFree: 204784 * kB},
		// MemFree + Active(file) + Inactive(file) + SReclaimable
		"no-memavailable": {Total: 1000000 * kB, Available: 475000 * kB, Estimated: true},
		// The reader tells what stands there; judging it is not its work.
		"memory-impossible": {Total: 1000000 * kB, Available: 1000001 * kB, SwapTotal: 10 * kB, SwapFree: 20 * kB},
	} {
		m, err := NewMeminfo(treeOf(name)).Read()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if *m != want {
			t.Errorf("%s: got %+v, want %+v", name, *m, want)
		}
	}
}

func TestMeminfo_EstimateIsNeverAboveTotal(t *testing.T) {
	t.Parallel()
	var m Meminfo
	text := "MemTotal: 10 kB\nMemFree: 9 kB\nActive(file): 9 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
	if err := parseMeminfo([]byte(text), &m); err != nil || m.Available != m.Total {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestMeminfo_Malformed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		line int
		err  error
	}{
		"":                                {0, errIncomplete},
		"MemTotal: 1 kB\n":                {0, errIncomplete},
		"MemTotal: 1 MB\n":                {1, ErrSyntax},
		"MemTotal: 1\n":                   {1, ErrSyntax},
		"MemTotal:\n":                     {1, ErrSyntax},
		"x\nMemFree: -1 kB\n":             {2, ErrRange},
		"MemTotal: 1125899906842624 kB\n": {1, ErrRange},
	} {
		err := parseMeminfo([]byte(text), &Meminfo{})
		wantParseError(t, err, "", want.line)
		if !errors.Is(err, want.err) {
			t.Errorf("%q: got %v, want %v", text, err, want.err)
		}
	}
	fs := treeOf("truncated")
	_, err := NewMeminfo(fs).Read()
	wantParseError(t, err, fs.ProcPath("meminfo"), 0)
}

func FuzzParseMeminfo(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		var m Meminfo
		if parseMeminfo(text, &m) == nil && m.Estimated && m.Available > m.Total {
			t.Errorf("an estimate of %d of %d", m.Available, m.Total)
		}
	}, "*/proc/meminfo")
}
