package sample

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/testkit"
)

// realLimit is what a call to a real file system may take instead of callTimeout: its
// server is a process that a loaded machine may leave waiting.
const realLimit = 3 * time.Second

// mountUnserved mounts a FUSE file system that nobody serves, until the test ends: whoever reads it
// hangs until die, and gets ENOTCONN from then on. A thread has it in a mount namespace of its own,
// so that no other program sees it.
func mountUnserved(t *testing.T) (point string, die func(), err error) {
	t.Helper()
	server, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	t.Cleanup(func() { _ = server.Close() })
	dir, end := t.TempDir(), make(chan struct{})
	mounted, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and so does the mount
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("unserved", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server.Fd()))
		}
		point = fmt.Sprintf("/proc/self/task/%d/root%s", unix.Gettid(), dir)
		mounted <- err
		<-end
	}()
	t.Cleanup(func() {
		close(end)
		<-ended
	})
	err = <-mounted
	return point, func() { _ = server.Close() }, err
}

// TestFilesystem_DeadFUSE reads a file system of the real kernel whose server hangs, then one whose
// server has ended. Both are told by name, and nothing else is missing. The mount table calls it
// nfs4: as the FUSE mount that it is, on the third line, it is not read at all.
func TestFilesystem_DeadFUSE(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount: a file system without a server was not tried on the real kernel")
	}
	dead, die, err := mountUnserved(t)
	if err != nil {
		t.Logf("NOT TRIED: mount a FUSE file system: %v: a file system without a server was not tried on the real kernel", err)
		return
	}
	m, local := newMachine(t), t.TempDir()
	m.write("proc/1/mounts", fmt.Sprintf("/dev/sda1 %s ext4 rw 0 0\nnas:/x %s nfs4 rw 0 0\nsshfs %s/. fuse rw 0 0\n", local, dead, dead))
	c := NewFilesystem(m.fs(), testDevice)
	c.(*filesystem).waiter.limit = realLimit
	f := func(want string) error {
		r := m.tick(c)
		if got := r.labelled("mountpoint"); len(got) != 1 || got[0] != local {
			t.Errorf("got %q, want the local one", got)
		}
		if len(r.errs) != 1 || !strings.Contains(r.errs[0].Error(), dead+": "+want) {
			return fmt.Errorf("got %v, want %q", r.errs, want)
		}
		return nil
	}
	for range 3 {
		if err := f("no answer"); err != nil {
			t.Error(err)
		}
	}
	die()
	testkit.Eventually(t, testkit.WaitLimit, "the end of the server to be told", func() error {
		return f(unix.ENOTCONN.Error())
	})
	if _, err := proc.Statfs(dead); err == nil {
		t.Error("the server has not ended")
	}
}
