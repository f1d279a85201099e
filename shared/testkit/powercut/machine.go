//go:build linux && (amd64 || arm64)

package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Machine is a machine that loses its power: an empty disk, mounted at Dir.
//
// The mount exists in a mount namespace of the goroutine that made the Machine,
// which is locked to its thread for the rest of its life: the processes that this
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
	if err := leave(m.bootID); err != nil {
		t.Fatalf("%v: mounting takes root; in a container allow SYS_ADMIN", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(kernelBootID, 0); err != nil {
			t.Errorf("unmount %s: %v", kernelBootID, err)
		}
	})
	m.mount()
	t.Cleanup(m.unmount)
	return m
}

// kernelBootID is new at each boot.
// https://docs.kernel.org/admin-guide/sysctl/kernel.html#random
const kernelBootID = "/proc/sys/kernel/random/boot_id"

// leave gives the calling goroutine a mount namespace of its own, with another boot
// id.
func leave(bootID string) error {
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts from spreading: %w", err)
	}
	if err := syscall.Mount(bootID, kernelBootID, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", kernelBootID, err)
	}
	return nil
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

func (m *Machine) unmount() {
	m.t.Helper()
	if m.server == nil {
		return
	}
	if err := m.server.Unmount(); err != nil {
		err = errors.Join(err, syscall.Unmount(m.Dir, syscall.MNT_DETACH))
		m.t.Errorf("unmount %s: %v; has every process with open files there ended?", m.Dir, err)
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

// Save copies the disk as processes see it, synced or not, to a folder.
func (m *Machine) Save(dir string) {
	m.t.Helper()
	if err := m.disk.save(dir); err != nil {
		m.t.Fatalf("save the disk: %v", err)
	}
}
