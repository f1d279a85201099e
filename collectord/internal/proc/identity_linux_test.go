package proc

import (
	"os"
	"path/filepath"
	"testing"
)

func TestIdentity(t *testing.T) {
	fs := FS{Sys: t.TempDir()}
	index := InterfaceIndex(fs, "eth1")
	f := func(text string, want uint64) {
		t.Helper()
		path := fs.SysPath("class/net/eth1/ifindex")
		_ = os.Remove(path) // another file, as that of another device is
		writeFile(t, path, text)
		if got := index.Read(); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
	if got := index.Read(); got != 0 {
		t.Errorf("no file: got %d", got)
	}
	f("7\n", 7)
	f("8\n", 8)
	f("", 0)
	f("-1\n", 0)
	f("123456789012345678901234567890123456789\n", 0)
	writeFile(t, fs.SysPath("block/cciss!c0d0/size"), "4096\n")
	if got := DiskNumber(fs, "cciss/c0d0").Read(); got != 4096 {
		t.Errorf("got %d", got)
	}
	writeFile(t, fs.SysPath("block/cciss!c0d0/diskseq"), "12\n")
	if got := DiskNumber(fs, "cciss/c0d0").Read(); got != 12 {
		t.Errorf("got %d", got)
	}
	if got := DiskNumber(FS{Sys: filepath.Dir(fs.Sys)}, "cciss/c0d0").Read(); got != 0 {
		t.Errorf("got %d", got)
	}
	f("9\n", 9)
	if n := testing.AllocsPerRun(100, func() { index.Read() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkIdentity(b *testing.B) {
	index := InterfaceIndex(FS{Sys: "/sys"}, "lo")
	b.ReportAllocs()
	for b.Loop() {
		if index.Read() == 0 {
			b.Fatal("lo has no ifindex")
		}
	}
}
