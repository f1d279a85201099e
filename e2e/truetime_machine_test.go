//go:build linux && (amd64 || arm64)

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"belabox-metrics/shared/testkit"
)

// machine is a device whose clocks are its own: what a program that it starts sees of the wall
// clock, of the uptime, of the boot id and of timesyncd is what the machine says.
//
// The wall clock is libfaketime's. A static program does not load it, so the programs run in
// qemu-user, which does. The uptime is that of a time namespace, as is CLOCK_BOOTTIME. The kernel's
// word on synchronisation is forbidden, as the units forbid it (ProtectClock=), and timesyncd's
// folder is the machine's.
type machine struct {
	t       testing.TB
	run     string  // its /run
	clock   string  // libfaketime's file: the offset of the wall clock in seconds
	offsets []int64 // of CLOCK_BOOTTIME in each boot, in seconds
	running []*testkit.Proc
}

// bootsApart is how far the uptimes of two boots lie apart, in seconds: a sample of the uptime says
// by itself when and in which boot it was taken.
const bootsApart = 1000

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, run: t.TempDir()}
	m.clock = filepath.Join(m.run, "clock")
	if err := os.MkdirAll(filepath.Join(m.run, "systemd", "timesync"), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// boot cuts the power, if it was on, and starts the machine with a wall clock that is ahead.
func (m *machine) boot(ahead time.Duration) {
	m.t.Helper()
	m.off()
	m.offsets = append(m.offsets, int64(len(m.offsets)*bootsApart+20)-int64(hostUptime().Seconds()))
	_ = os.Remove(m.synchronised()) // there is none before the first NTP
	m.setClock(ahead)
}

// off cuts the power.
func (m *machine) off() {
	for _, p := range m.running {
		p.Kill()
	}
	m.running = nil
}

// setClock makes the wall clock step.
func (m *machine) setClock(ahead time.Duration) {
	m.t.Helper()
	text := strconv.FormatFloat(ahead.Seconds(), 'f', 3, 64)
	if ahead >= 0 {
		text = "+" + text
	}
	if err := os.WriteFile(m.clock+".new", []byte(text+"\n"), 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.clock+".new", m.clock); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) synchronised() string {
	return filepath.Join(m.run, "systemd", "timesync", "synchronized")
}

// ntp sets the clock, as timesyncd does.
func (m *machine) ntp() {
	m.t.Helper()
	m.setClock(0)
	if err := os.WriteFile(m.synchronised(), nil, 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// start runs a program in the machine.
func (m *machine) start(output, bin string, args ...string) *testkit.Proc {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	p := testkit.StartProc(m.t, testkit.Command{
		Path: self, Args: append([]string{bin}, args...), Output: output,
		Env: []string{
			machineRun + "=" + m.run, machineOffset + "=" + strconv.FormatInt(m.offsets[len(m.offsets)-1], 10),
			fmt.Sprintf("BELABOX_BOOT_ID=%08x-0000-4000-8000-%012x", os.Getpid(), len(m.offsets)), "FAKETIME_TIMESTAMP_FILE=" + m.clock, "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1",
		},
	})
	m.running = append(m.running, p)
	return p
}

// taken is the boot, from 0, and the true time of a sample of the uptime.
func (m *machine) taken(uptime float64) (boot int, ms int64) {
	boot = int(uptime) / bootsApart
	wallMinusBoot := time.Now().UnixMilli() - hostUptime().Milliseconds()
	return boot, wallMinusBoot + int64(uptime*1000) - m.offsets[boot]*1000
}

func hostUptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

const (
	machineRun    = "E2E_MACHINE_RUN"
	machineOffset = "E2E_MACHINE_BOOTTIME"
)

// A test binary that was started as a program in a machine becomes that program. This happens
// before main, while the process runs on its first thread: namespaces belong to threads.
func init() {
	if run := os.Getenv(machineRun); run != "" {
		fmt.Fprintln(os.Stderr, "start a program in a machine:", becomeProgram(run))
		os.Exit(1)
	}
}

func becomeProgram(run string) error {
	preload, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if err != nil || len(preload) == 0 {
		return fmt.Errorf("find libfaketime: %v, %w", preload, err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("make namespaces: %w: it takes root; in a container allow SYS_ADMIN", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts from spreading: %w", err)
	}
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := os.Symlink(filepath.Join(run, "systemd"), "/run/systemd"); err != nil {
		return err
	}
	offset := "boottime " + os.Getenv(machineOffset) + " 0\n"
	if err := os.WriteFile("/proc/self/timens_offsets", []byte(offset), 0o600); err != nil {
		return fmt.Errorf("set the uptime: %w", err)
	}
	if err := forbidAdjtimex(); err != nil {
		return fmt.Errorf("forbid adjtimex: %w", err)
	}
	qemu := map[string]string{"amd64": "/usr/bin/qemu-x86_64", "arm64": "/usr/bin/qemu-aarch64"}[runtime.GOARCH]
	env := append(os.Environ(), "LD_PRELOAD="+preload[0])
	return syscall.Exec(qemu, append([]string{qemu}, os.Args[1:]...), env)
}

// forbidAdjtimex answers EPERM to it, as ProtectClock= of systemd does.
// https://docs.kernel.org/userspace-api/seccomp_filter.html
func forbidAdjtimex() error {
	const ret = unix.BPF_RET | unix.BPF_K
	eq := func(nr uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: skip, K: nr}
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		eq(unix.SYS_ADJTIMEX, 2),
		eq(unix.SYS_CLOCK_ADJTIME, 1),
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
