//go:build linux && (amd64 || arm64)

package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Machine is a machine that loses its power: an empty disk, mounted at Dir.
//
// The mount exists in a mount namespace of the goroutine that made the Machine,
// which is locked to its thread until the test ends: the processes that this
// goroutine starts see it, the rest of the machine does not, and it is gone with
// the test binary, whatever that dies of. SQLite belongs into those processes: in
// the test itself it may block the very threads that would have to answer it.
//
// Each start of the machine has a boot id of its own, as the kernel tells it.
type Machine struct {
	Dir string

	t      testing.TB
	disk   *disk
	server *fuse.Server // nil = not mounted
	bootID string       // file that stands in the place of the kernel's
}

// New makes a machine that ends with the test. Only root may have one.
func New(t testing.TB) *Machine {
	t.Helper()
	m := &Machine{Dir: t.TempDir(), t: t, disk: newDisk(), bootID: filepath.Join(t.TempDir(), "boot_id")}
	m.boot(rand.New(rand.NewPCG(0, 0)))
	m.isolate()
	m.mount()
	t.Cleanup(m.unmount)
	return m
}

// kernelBootID is new at each boot.
// https://docs.kernel.org/admin-guide/sysctl/kernel.html#random
const kernelBootID = "/proc/sys/kernel/random/boot_id"

// isolate gives the calling goroutine a mount namespace of its own, with another
// boot id, until the test ends. Then the thread returns to the namespace it came
// from. It must not end with the goroutine: it may have started processes of other
// tests, which the kernel kills when this thread ends (testkit.StartProc).
func (m *Machine) isolate() {
	m.t.Helper()
	runtime.LockOSThread()
	check := func(what string, err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatalf("%s: %v: mounting takes root; in a container allow SYS_ADMIN", what, err)
		}
	}
	home, err := os.Open("/proc/thread-self/ns/mnt")
	check("open the mount namespace", err)
	dir, err := os.Getwd()
	check("find the working directory", err)
	check("make a mount namespace", unix.Unshare(unix.CLONE_NEWNS))
	m.t.Cleanup(func() {
		defer home.Close()
		// The working directory is this thread's own since Unshare, and Setns resets it.
		if err := errors.Join(unix.Setns(int(home.Fd()), unix.CLONE_NEWNS), unix.Chdir(dir)); err != nil {
			m.t.Errorf("return to the mount namespace of the test binary: %v", err)
			return // the thread stays locked, so that no other goroutine runs on it
		}
		runtime.UnlockOSThread()
	})
	check("keep mounts from spreading", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check("mount over "+kernelBootID, unix.Mount(m.bootID, kernelBootID, "", unix.MS_BIND, ""))
	m.t.Cleanup(func() {
		if err := unix.Unmount(kernelBootID, 0); err != nil {
			m.t.Errorf("unmount %s: %v", kernelBootID, err)
		}
	})
}

// boot makes a boot id.
func (m *Machine) boot(dice *rand.Rand) {
	m.t.Helper()
	text := fmt.Sprintf("%08x-0000-4000-8000-%012x\n", dice.Uint32(), dice.Uint64()>>16)
	if err := os.WriteFile(m.bootID, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *Machine) mount() {
	m.t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		m.t.Fatalf("%v: the power-cut test needs FUSE: load the kernel module fuse (modprobe fuse); in a container give it the device /dev/fuse", err)
	}
	server, err := fuse.NewServer(kernelSide{fuse.NewDefaultRawFileSystem(), m.disk}, m.Dir, &fuse.MountOptions{
		FsName: "powercut", Name: "powercut", DirectMountStrict: true,
		DisableXAttrs: true, DisableReadDirPlus: true, ExplicitDataCacheControl: true,
	})
	if err != nil {
		m.t.Fatalf("mount a FUSE file system at %s: %v: it takes root and /dev/fuse; in a container allow SYS_ADMIN", m.Dir, err)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		m.t.Fatalf("mount a FUSE file system at %s: %v", m.Dir, err)
	}
	m.server = server
}

// busyLimit is how long unmount waits for a busy disk.
const busyLimit = 20 * time.Second

func (m *Machine) unmount() {
	m.t.Helper()
	if m.server == nil {
		return
	}
	// A process that another test is starting holds copies of this one's open files until its exec,
	// so the disk can be busy for a moment. On a busy machine the moment can be long: then the
	// mount is detached, and ends with its last open file. The daemons have ended by now, and the
	// next mount at the same place does not depend on it.
	err := m.server.Unmount()
	for end := time.Now().Add(busyLimit); errors.Is(err, unix.EBUSY) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		err = m.server.Unmount()
	}
	if errors.Is(err, unix.EBUSY) {
		m.t.Logf("unmount %s: still busy after %v, detached", m.Dir, busyLimit)
		err = unix.Unmount(m.Dir, unix.MNT_DETACH)
	}
	if err != nil {
		m.t.Errorf("unmount %s: %v", m.Dir, err)
	}
	m.server = nil
}

// Cut takes the power away. From now on nothing changes on the disk, and requests
// that would change it fail with EIO. The processes have yet to be killed.
func (m *Machine) Cut() { m.disk.cut() }

// CutAt cuts the power right before the nth Op from now on of which match is true;
// match must be quick. A later call replaces it.
func (m *Machine) CutAt(nth int, match func(Op) bool) { m.disk.cutAt(nth, match) }

// Down is closed while the power is off.
func (m *Machine) Down() <-chan struct{} {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	return m.disk.down
}

// Restart forgets what the dice say of all that was not synced, and gives the
// power back. It cuts the power if nobody has. All processes with open files on
// the disk must have ended.
func (m *Machine) Restart(dice *rand.Rand) Damage {
	m.t.Helper()
	m.disk.cut()
	m.unmount() // the kernel must not remember what the disk has forgotten
	damage := m.disk.restart(dice)
	m.boot(dice)
	m.mount()
	return damage
}

// Save copies the disk as processes see it, synced or not, to a directory.
func (m *Machine) Save(dir string) {
	m.t.Helper()
	if err := m.disk.save(dir); err != nil {
		m.t.Fatalf("save the disk: %v", err)
	}
}
