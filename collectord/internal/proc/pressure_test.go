package proc

import (
	"os"
	"syscall"
	"testing"
)

func TestPressure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tree, resource string
		want           Pressure
	}{
		{"rk3588", "cpu", Pressure{Some: 7909947}},
		{"rk3588", "memory", Pressure{Some: 2169535, Full: 1995639}},
		{"rk3588", "io", Pressure{Some: 88123, Full: 51234}},
		{"psi-no-cpu-full", "cpu", Pressure{Some: 7909947, Full: Absent}},
	} {
		p, err := NewPressure(treeOf(c.tree), c.resource).Read()
		if err != nil || *p != c.want {
			t.Errorf("%s of %s: got %+v, %v, want %+v", c.resource, c.tree, p, err, c.want)
		}
	}
}

func TestPressure_NotSupported(t *testing.T) {
	t.Parallel()
	if _, err := NewPressure(treeOf("raspberrypi5"), "io").Read(); !isNotSupported(err) {
		t.Errorf("no such file: %v", err)
	}
	// Some kernels have the files and refuse to open them when psi=0 was given at
	// boot. No fixture can do that.
	err := notSupported(&os.PathError{Op: "open", Path: "/proc/pressure/io", Err: syscall.EOPNOTSUPP})
	if !isNotSupported(err) {
		t.Errorf("switched off at boot: %v", err)
	}
	err = notSupported(&os.PathError{Op: "open", Path: "/proc/pressure/io", Err: syscall.EACCES})
	if isNotSupported(err) {
		t.Errorf("a file that must not be read counts as not supported: %v", err)
	}
}

func TestPressure_Malformed(t *testing.T) {
	t.Parallel()
	fs := treeOf("truncated")
	for _, resource := range []string{"cpu", "memory", "io"} {
		_, err := NewPressure(fs, resource).Read()
		wantParseError(t, err, fs.ProcPath("pressure", resource), 0)
	}
	for text, line := range map[string]int{
		"":                              0,
		"full avg10=0.00 total=1\n":     0,
		"some avg10=0.00\n":             1,
		"some total=-1\n":               1,
		"some total=1\nfull total=1x\n": 2,
	} {
		wantParseError(t, parsePressure([]byte(text), &Pressure{}), "", line)
	}
}

func FuzzParsePressure(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		var p Pressure
		if err := parsePressure(text, &p); err == nil && p.Some == Absent || impossible(p.Some, p.Full) {
			t.Errorf("%q gives %+v, %v", text, p, err)
		}
	}, "*/proc/pressure/*")
}
