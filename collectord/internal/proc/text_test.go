package proc

import (
	"path/filepath"
	"testing"
	"unicode/utf8"
)

func TestBoardModel(t *testing.T) {
	t.Parallel()
	for tree, want := range map[string]string{
		"rk3588":       "Radxa ROCK 5B",
		"raspberrypi5": "Raspberry Pi 5 Model B Rev 1.0",
		"board-pc":     "NUC11TNKi5",
	} {
		if got, err := BoardModel(treeOf(tree)); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", tree, got, err, want)
		}
	}
	for _, tree := range []string{"board-unnamed", "cpu-256"} {
		if got, err := BoardModel(treeOf(tree)); !isNotSupported(err) {
			t.Errorf("%s: got %q, %v, want not supported", tree, got, err)
		}
	}
}

func TestKernelRelease(t *testing.T) {
	t.Parallel()
	if got, err := KernelRelease(treeOf("raspberrypi5")); got != "6.12.34+rpt-rpi-2712" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOSName(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"debian":  "Debian GNU/Linux 12 (bookworm)",
		"quoted":  `Ubuntu "Noble"`,
		"escaped": `A "B" $5 \`,
		"twice":   "Last",
	} {
		if got, err := OSName(filepath.Join("testdata/os-release", file)); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", file, got, err, want)
		}
	}
	for _, file := range []string{"nameless", "not-there"} {
		if got, err := OSName(filepath.Join("testdata/os-release", file)); !isNotSupported(err) {
			t.Errorf("%s: got %q, %v, want not supported", file, got, err)
		}
	}
}

func TestOSReleasePath(t *testing.T) {
	t.Parallel()
	const own = "/etc/os-release"
	if got := OSReleasePath(FS{Proc: "/proc"}); got != own {
		t.Errorf("own procfs: got %q", got)
	}
	host := FS{Proc: t.TempDir()}
	if got := OSReleasePath(host); got != own {
		t.Errorf("host without rights: got %q", got)
	}
	writeFile(t, host.ProcPath("1/root/etc/os-release"), "PRETTY_NAME=Host\n")
	if got, err := OSName(OSReleasePath(host)); got != "Host" || err != nil {
		t.Errorf("host: got %q, %v", got, err)
	}
}

func FuzzText(f *testing.F) {
	path := filepath.Join(f.TempDir(), "text")
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		writeFile(t, path, string(text))
		for _, read := range []func(string) (string, error){ReadText, OSName} {
			if got, err := read(path); !utf8.ValidString(got) || got != "" && err != nil {
				t.Errorf("%q gives %q, %v", text, got, err)
			}
		}
	}, "os-release/*")
}
