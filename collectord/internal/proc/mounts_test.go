package proc

import (
	"os"
	"slices"
	"testing"
)

func TestMounts_Boards(t *testing.T) {
	t.Parallel()
	fs := treeOf("rk3588")
	m := NewMounts(fs)
	list, changed, err := m.Read()
	if err != nil || !changed || len(list) != 12 {
		t.Fatalf("got %d mounts, %v, %v", len(list), changed, err)
	}
	want := Mount{Source: "/dev/nvme0n1p1", Point: "/media/recordings", Type: "ext4", Path: "/media/recordings"}
	if list[10] != want {
		t.Errorf("got %+v, want %+v", list[10], want)
	}
	if again, changed, err := m.Read(); changed || err != nil || !slices.Equal(again, list) {
		t.Errorf("second read: changed %v, %v", changed, err)
	}
}

func TestMounts_Escapes(t *testing.T) {
	t.Parallel()
	list, _, err := NewMounts(treeOf("mounts-escaped")).Read()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		got = append(got, m.Point)
	}
	want := []string{
		"/", "/media/my stick", "/media/tab\tnewline\nbackslash\\hash#", `/media/not\04an\999escape\`, "/mnt/share",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if list[4].Source != "//nas/my share" {
		t.Errorf("got source %q", list[4].Source)
	}
}

func TestMounts_BadLineCostsOnlyItself(t *testing.T) {
	t.Parallel()
	fs := treeOf("mounts-truncated")
	m := NewMounts(fs)
	list, changed, err := m.Read()
	if len(list) != 1 || !changed {
		t.Errorf("got %v, %v", list, changed)
	}
	wantParseError(t, err, fs.ProcPath("self/mounts"), 2)
}

func TestMounts_Change(t *testing.T) {
	t.Parallel()
	fs := FS{Proc: t.TempDir()}
	table := fs.ProcPath("1/mounts")
	writeFile(t, table, "/dev/sda1 / ext4 rw 0 0\n")
	m := NewMounts(fs)
	if list, changed, err := m.Read(); len(list) != 1 || !changed || err != nil {
		t.Fatalf("got %v, %v, %v", list, changed, err)
	}
	writeFile(t, table, "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /mnt ext4 rw 0 0\n")
	if list, changed, err := m.Read(); len(list) != 2 || !changed || err != nil {
		t.Errorf("grown: got %v, %v, %v", list, changed, err)
	}
	writeFile(t, table, "")
	if list, changed, err := m.Read(); len(list) != 0 || !changed || err != nil {
		t.Errorf("empty: got %v, %v, %v", list, changed, err)
	}
}

func TestMounts_OfProcess1(t *testing.T) {
	t.Parallel()
	fs := FS{Proc: t.TempDir()}
	writeFile(t, fs.ProcPath("1/mounts"), "/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /srv ext4 rw 0 0\n")
	writeFile(t, fs.ProcPath("self/mounts"), "overlay / overlay rw 0 0\n")
	if err := os.Symlink("/", fs.ProcPath("1/root")); err != nil {
		t.Fatal(err)
	}
	list, _, err := NewMounts(fs).Read()
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v", list, err)
	}
	if got, want := list[1].Path, fs.ProcPath("1/root")+"/srv"; got != want || list[1].Point != "/srv" {
		t.Errorf("got %+v, want the path %s", list[1], want)
	}
	fs.Root = "/host/root"
	if list, _, err = NewMounts(fs).Read(); err != nil || list[1].Path != "/host/root/srv" || list[1].Point != "/srv" {
		t.Errorf("with a root of its own: got %+v, %v", list, err)
	}
	if table, root := (FS{Proc: "/proc"}).mountsPath(); table != "/proc/self/mounts" || root != "" {
		t.Errorf("own procfs: %s, %q", table, root)
	}
}

func TestMounts_TableGone(t *testing.T) {
	t.Parallel()
	fs := FS{Proc: t.TempDir()}
	m := NewMounts(fs)
	if list, _, err := m.Read(); !os.IsNotExist(err) || list != nil {
		t.Errorf("got %v, %v", list, err)
	}
	writeFile(t, fs.ProcPath("1/mounts"), "/dev/sda1 / ext4 rw 0 0\n")
	if list, changed, err := m.Read(); len(list) != 1 || !changed || err != nil {
		t.Errorf("back again: got %v, %v, %v", list, changed, err)
	}
}

func FuzzParseMounts(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		list, err := parseMounts(text, nil)
		for _, m := range list {
			if m.Source == "" || m.Point == "" || m.Type == "" {
				t.Errorf("got %+v", m)
			}
		}
		wantLinesCounted(t, text, len(list), err)
	}, "*/proc/self/mounts", "*/proc/1/mounts")
}
