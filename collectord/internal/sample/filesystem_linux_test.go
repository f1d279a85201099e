package sample

import (
	"testing"
)

// newRealFilesystem reads a mount table of its own, of a folder that is asked by a
// real statfs: what this machine has mounted may be slow, sick or hang.
func newRealFilesystem(t testing.TB) (c Collector, point string) {
	t.Helper()
	m := newMachine(t)
	point = t.TempDir()
	m.write("proc/1/mounts", "/dev/sda1 "+point+" ext4 rw 0 0\n")
	return NewFilesystem(m.fs(), testDevice), point
}

func TestFilesystem_Real(t *testing.T) {
	t.Parallel()
	c, point := newRealFilesystem(t)
	r := newMachine(t).tick(c)
	r.wantFaults(t, 0)
	if len(r.values) < 3 || r.values[mountKey("size_bytes", point, "ext4")] <= 0 {
		t.Errorf("got %v", r.values)
	}
	for key, v := range r.values {
		if v < 0 {
			t.Errorf("%s = %v", key, v)
		}
	}
}

func BenchmarkFilesystem(b *testing.B) {
	c, _ := newRealFilesystem(b)
	benchCollector(b, c)
}
