package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestDiskStats_Boards(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tree, device string
		want         DiskStat
	}{
		// The columns of Documentation/admin-guide/iostats.rst, in a file of 20,
		// which is what kernels since 5.5 print, and in one of 14.
		{"rk3588", "nvme0n1", DiskStat{Major: 259, Reads: 58213, SectorsRead: 7421138, Writes: 402133, SectorsWritten: 98533368, IOMillis: 514232}},
		{"rk3588", "mmcblk0boot1", DiskStat{Major: 179, Minor: 64, Reads: 24, SectorsRead: 1216, IOMillis: 16}},
		{"raspberrypi5", "mmcblk0", DiskStat{Major: 179, Reads: 18234, SectorsRead: 1204516, Writes: 40212, SectorsWritten: 1820338, IOMillis: 240112}},
		{"disk-14-columns", "sda", DiskStat{Major: 8, Reads: 1024, SectorsRead: 81920, Writes: 2048, SectorsWritten: 163840, IOMillis: 700}},
	} {
		stats, err := NewDiskStats(treeOf(c.tree)).Read()
		if err != nil {
			t.Errorf("%s: %v", c.tree, err)
			continue
		}
		i := slices.IndexFunc(stats, func(s DiskStat) bool { return string(s.Device) == c.device })
		if i < 0 {
			t.Errorf("%s: no %s", c.tree, c.device)
			continue
		}
		got := stats[i]
		got.Device, got.Counts = nil, nil
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s %s: got %+v, want %+v", c.tree, c.device, got, c.want)
		}
	}
}

func TestDiskStats_BadLineCostsOnlyItself(t *testing.T) {
	t.Parallel()
	fs := treeOf("disk-truncated")
	stats, err := NewDiskStats(fs).Read()
	if len(stats) != 1 || string(stats[0].Device) != "sda" {
		t.Errorf("got %v, want sda alone", stats)
	}
	wantParseError(t, err, fs.ProcPath("diskstats"), 2)
}

func TestParseDiskStats_CutAnywhere(t *testing.T) {
	t.Parallel()
	line := []byte("   8       0 sda 11 22 33 44 55 66 77 88 99 1234 1111\n")
	want, err := parseDiskStats(line, nil)
	if err != nil || len(want) != 1 || want[0].IOMillis != 1234 {
		t.Fatalf("got %+v, %v", want, err)
	}
	want[0].Counts = nil // of a line without its end
	for n := range line {
		got, err := parseDiskStats(line[:n], nil)
		if n == 0 && (len(got) > 0 || err != nil) {
			t.Errorf("nothing: got %v, %v", got, err)
		}
		if n > 0 && (err == nil) != (len(got) == 1) {
			t.Errorf("%q: got %v, %v", line[:n], got, err)
		}
		if len(got) == 1 && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %+v, which is not what the whole line says", line[:n], got)
		}
	}
}

func TestDiskStats_MissingFile(t *testing.T) {
	t.Parallel()
	if stats, err := NewDiskStats(FS{Proc: t.TempDir()}).Read(); !os.IsNotExist(err) || stats != nil {
		t.Errorf("got %v, %v", stats, err)
	}
}

func TestBlockSizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tree, device      string
		logical, physical uint64
	}{
		{"rk3588", "nvme0n1", 512, 4096},
		{"disk-14-columns", "sda", 4096, 4096},
		{"disk-all-kinds", "cciss/c0d0", 512, 512},
	} {
		logical, physical, err := BlockSizes(treeOf(c.tree), c.device)
		if logical != c.logical || physical != c.physical || err != nil {
			t.Errorf("%s %s: got %d, %d, %v", c.tree, c.device, logical, physical, err)
		}
	}
	if _, _, err := BlockSizes(treeOf("rk3588"), "sdz"); !isNotSupported(err) {
		t.Errorf("unknown device: %v", err)
	}
	fs := FS{Sys: t.TempDir()}
	queue := fs.SysPath("block/sda/queue")
	writeFile(t, filepath.Join(queue, "logical_block_size"), "512\n")
	if _, _, err := BlockSizes(fs, "sda"); !isNotSupported(err) {
		t.Errorf("no physical size: %v", err)
	}
	writeFile(t, filepath.Join(queue, "physical_block_size"), "many\n")
	_, _, err := BlockSizes(fs, "sda")
	wantParseError(t, err, filepath.Join(queue, "physical_block_size"), 0)
}

func FuzzParseDiskStats(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		stats, err := parseDiskStats(text, nil)
		for _, s := range stats {
			if len(s.Device) == 0 {
				t.Errorf("a device without a name: %+v", s)
			}
		}
		wantLinesCounted(t, text, len(stats), err)
	}, "*/proc/diskstats")
}

func BenchmarkDiskStats(b *testing.B) {
	d := NewDiskStats(treeOf("rk3588"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
