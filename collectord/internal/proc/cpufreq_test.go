package proc

import (
	"path/filepath"
	"testing"
)

func TestCPUFreq(t *testing.T) {
	t.Parallel()
	fs := treeOf("rk3588")
	paths := map[string]bool{}
	for core, want := range []uint64{1800000, 1800000, 1800000, 1800000, 2208000, 2208000, 2256000, 2256000} {
		path, err := CPUFreqPath(fs, core)
		if err != nil {
			t.Fatal(err)
		}
		paths[path] = true
		if got, err := NewCPUFreq(path).Read(); err != nil || *got != want {
			t.Errorf("core %d: got %v, %v, want %d", core, got, err, want)
		}
	}
	if len(paths) != 3 {
		t.Errorf("%d files for 3 clusters: %v", len(paths), paths)
	}
	if _, err := CPUFreqPath(fs, 8); !isNotSupported(err) {
		t.Errorf("core 8 of 8: %v", err)
	}
}

func TestCPUFreq_Malformed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "<unknown>\n", "-1\n", "1 2\n", "18446744073709551616\n"} {
		path := filepath.Join(t.TempDir(), "scaling_cur_freq")
		writeFile(t, path, text)
		_, err := NewCPUFreq(path).Read()
		wantParseError(t, err, path, 0)
	}
}

func FuzzParseUintFile(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		n := uint64(42)
		if err := parseUintFile(text, &n); err != nil && n != 42 {
			t.Errorf("%q is an error and gives %d", text, n)
		}
	}, "*/sys/devices/system/cpu/cpufreq/*/scaling_cur_freq")
}
