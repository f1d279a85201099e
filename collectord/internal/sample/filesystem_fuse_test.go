//go:build linux && (amd64 || arm64)

package sample

import (
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// TestFilesystem_HungFUSE asks a file system of the real kernel whose server
// does not answer statfs. The mount table calls it nfs4, because a FUSE mount
// would not be asked at all. What that costs in time is shown by
// TestFilesystem_HungMountBlocksNothing, on a clock that no load delays.
func TestFilesystem_HungFUSE(t *testing.T) {
	t.Parallel()
	// The unit of the counts is Frsize, not Bsize.
	tree := &kernelTree{Statfs: &fuse.StatfsOut{Blocks: 1000, Bfree: 500, Bavail: 400, Bsize: 131072, Frsize: 4096}}
	dir, release, ok := tree.mount(t)
	if !ok {
		return
	}

	m := newMachine(t)
	local := t.TempDir()
	m.write("proc/1/mounts", "/dev/sda1 "+local+" ext4 rw 0 0\nnas:/x "+dir+" nfs4 rw 0 0\n")
	c := NewFilesystem(m.fs(), testDevice)
	c.(*filesystem).waiter.limit = realLimit
	for range 5 {
		r := m.tick(c)
		r.wantFaults(t, 1)
		if len(r.errs) == 1 && !strings.Contains(r.errs[0].Error(), dir+": no answer") {
			t.Errorf("got %v", r.errs)
		}
		if got := r.labelled("mountpoint"); len(got) != 1 || got[0] != local {
			t.Errorf("got %q, want the local one", got)
		}
	}
	release()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if r := m.tick(c); len(r.errs) == 0 {
			r.want(t, "filesystem.free_bytes", map[string]float64{
				mountKey("free_bytes", dir, "nfs4"):   500 * 4096,
				mountKey("free_bytes", local, "ext4"): r.values[mountKey("free_bytes", local, "ext4")],
			})
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server answers again and there is no sample")
		}
	}
}
