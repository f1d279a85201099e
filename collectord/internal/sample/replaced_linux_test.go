package sample

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belabox-metrics/collectord/internal/proc"
)

// TestNetwork_RealInterfaces lets the kernel give the name of an interface to another one, which
// has counted more: the event number must show it in each way that there is.
func TestNetwork_RealInterfaces(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may make a network: that the kernel counts an event before a name is free was not proven")
	}
	elsewhere := make(chan int)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		_ = unix.Unshare(unix.CLONE_NEWNET)
		elsewhere <- unix.Gettid()
		<-t.Context().Done()
	}()
	tid := <-elsewhere
	other := fmt.Sprintf("netns %d name x1", tid)
	for name, replace := range map[string][]string{
		"deleted":        {"link del x", "link set y down", "link set y name x"},
		"swapped":        {"link set y down", "link set x name z", "link set y name x", "link set z name y"},
		"moved":          {"link set x " + other, "link set y down", "link set y name x"},
		"made anew":      {"link del x", "link add x index 999 type veth peer name p"},
		"renamed":        {"link set x name z", "link set z name x"},
		"nothing at all": nil,
	} {
		isSame := name == "renamed" || name == "nothing at all"
		done := make(chan error)
		go func() { done <- replaceInterface(t, replace, isSame) }()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// replaceInterface runs in a network namespace of its own. isSame is whether x is the same
// interface after the commands, so that it has a rate.
func replaceInterface(t *testing.T, replace []string, isSame bool) error {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	dir := t.TempDir()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	fs := proc.FS{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
	if err := os.MkdirAll(fs.ProcPath("net"), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(fs.Sys, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(fmt.Sprintf("/proc/%d/task/%d/net/dev", os.Getpid(), unix.Gettid()), fs.ProcPath("net/dev")); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", fs.Sys, "sysfs", 0, ""); err != nil { // shows this network
		return err
	}
	defer func() { _ = unix.Unmount(fs.Sys, unix.MNT_DETACH) }() // else TempDir cannot be removed
	ip := func(commands ...string) error {
		for _, c := range commands {
			if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", c, err, out)
			}
		}
		return nil
	}
	if err := ip("link add x type veth peer name xp", "link add y type veth peer name yp",
		"link set y up", "link set yp up", "addr add 192.0.2.1/24 dev y"); err != nil {
		return err
	}
	network := must(NewNetwork(fs, testDevice, networkConfig()))
	at := time.Now()
	tick := func() (map[string]float64, error) {
		var b Batch
		at = at.Add(time.Second)
		b.Begin(at, nil)
		err := network.Collect(at, &b)
		values := map[string]float64{}
		for _, s := range b.Samples {
			values[s.Series.Name+s.Series.Tags] = s.Value
		}
		return values, err
	}
	total, rate := `network.transmit_packets_total{"interface":"x"}`, `network.transmit_packets_per_second{"interface":"x"}`
	for {
		v, err := tick()
		if err != nil {
			return err
		}
		if v[total] > 0 {
			return fmt.Errorf("x is down and has sent %v packets", v[total])
		}
		if v[`network.transmit_packets_total{"interface":"y"}`] > 0 {
			break
		}
		if err := sendDatagram(); err != nil {
			return err
		}
	}
	if err := ip(replace...); err != nil {
		return err
	}
	v, err := tick()
	if err != nil {
		return err
	}
	_, hasRate := v[rate]
	if _, there := v[total]; !there || hasRate != isSame {
		return fmt.Errorf("rate %v, want %v; %v", hasRate, isSame, v)
	}
	if v, err = tick(); err != nil {
		return err
	}
	if _, hasRate = v[rate]; !hasRate {
		return fmt.Errorf("no rate in the tick after: %v", v)
	}
	return nil
}

// sendDatagram sends something over y.
func sendDatagram() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	return unix.Sendto(socket, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 2}})
}

// TestDisk_RealDevices: a loop device is removed, and another one made under its name that has
// written more. Its sequence number is another one, and removing the first was an event.
func TestDisk_RealDevices(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may make a loop device: that the kernel counts an event before a name is free was not proven")
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	// Nobody else asks for one by this number, but whoever asks for a free one may get it.
	number := 100_000 + os.Getpid()
	node := filepath.Join(t.TempDir(), "loop")
	remove := func() {
		if err := unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_REMOVE, number); err != nil && err != unix.ENODEV {
			t.Errorf("remove loop%d: %v", number, err)
		}
	}
	defer remove()
	// write makes the device and writes n bytes.
	write := func(n int) {
		t.Helper()
		if err := unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_ADD, number); err != nil {
			t.Fatal(err)
		}
		attachLoop(t, fmt.Sprintf("loop%d", number), node, n)
	}
	disk := must(NewDisk(proc.FS{Proc: "/proc", Sys: "/sys"}, testDevice, []string{fmt.Sprintf("loop%d", number)}))
	tags := fmt.Sprintf(`{"device":"loop%d"}`, number)
	m := newMachine(t)
	write(1 << 20)
	m.tick(disk).wantFaults(t, 0)
	if v := m.tick(disk).values; v["disk.written_bytes_per_second"+tags] != 0 || v["disk.written_bytes_total"+tags] != 1<<20 {
		t.Errorf("the first one: %v", v)
	}
	remove()
	write(4 << 20)
	v := m.tick(disk).values
	if _, hasRate := v["disk.written_bytes_per_second"+tags]; hasRate || v["disk.written_bytes_total"+tags] != 4<<20 {
		t.Errorf("another one: %v", v)
	}
	if _, hasRate := m.tick(disk).values["disk.written_bytes_per_second"+tags]; !hasRate {
		t.Error("no rate in the tick after")
	}
}

// attachLoop gives a loop device a file, writes n bytes past the page cache, and takes the file
// away again.
func attachLoop(t *testing.T, name, node string, n int) {
	t.Helper()
	text, err := os.ReadFile("/sys/block/" + name + "/dev")
	if err != nil {
		t.Fatal(err)
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(text), "%d:%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(node) // of the device before
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Fatal(err)
	}
	loop, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	file, err := os.CreateTemp(t.TempDir(), "disk")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(8 << 20); err != nil {
		t.Fatal(err)
	}
	config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: 4096}
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		t.Fatal(err)
	}
	writeDirect(t, node, n)
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
		t.Fatal(err)
	}
}
