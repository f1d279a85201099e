//go:build systemdtest

package systemd

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belabox-metrics/shared/testkit"
)

// network is a network namespace with nothing but a loopback interface, so that
// every machine has the packaged ports for itself. It outlives the machine's boots.
type network struct{ ns *os.File }

func newNetwork(t *testing.T) network {
	t.Helper()
	ns, err := apart(func() (*os.File, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return nil, fmt.Errorf("unshare: %w", err)
		}
		if err := loopbackUp(); err != nil {
			return nil, fmt.Errorf("loopback: %w", err)
		}
		return os.Open("/proc/thread-self/ns/net")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return network{ns}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// apart calls f on a thread that nobody else uses meanwhile, and takes it back to
// the namespace it came from. The thread must not simply end with f: it may be the
// one that started the children, whom the kernel kills when their parent's thread ends.
func apart[T any](f func() (T, error)) (v T, err error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return v, err
	}
	defer home.Close()
	defer func() {
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			panic(fmt.Sprintf("a thread is lost in a network namespace: %v", back))
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// inside calls f in the namespace. A socket that f opens stays in it.
func inside[T any](n network, f func() (T, error)) (T, error) {
	return apart(func() (T, error) {
		if err := unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			var zero T
			return zero, fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// path names the namespace for other programs, as long as the test runs.
func (n network) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.ns.Fd()) }

// http asks servers in the namespace.
func (n network) http() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, proto, addr string) (net.Conn, error) {
			return inside(n, func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, proto, addr) })
		},
	}}
}

// listen serves handler in the namespace until the test ends.
func (n network) listen(t *testing.T, addr string, handler http.Handler) {
	t.Helper()
	l, err := inside(n, func() (net.Listener, error) { return net.Listen("tcp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(l) //nolint:errcheck // it ends with Close
	t.Cleanup(func() { server.Close() })
}

// startVM starts a VictoriaMetrics where the packaged configuration looks for one.
func (n network) startVM(t *testing.T) testkit.Client {
	t.Helper()
	_, vm := n.startVMOn(t, t.TempDir())
	return vm
}

// startVMOn is startVM with data that may be there already.
func (n network) startVMOn(t *testing.T, data string) (*testkit.Proc, testkit.Client) {
	t.Helper()
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		t.Fatal(err)
	}
	server := testkit.StartProc(t, testkit.Command{Path: nsenter, Args: []string{
		"--net=" + n.path(), "--",
		"victoria-metrics", "-storageDataPath=" + data, "-httpListenAddr=127.0.0.1:8428", "-memory.allowedBytes=128MB", "-loggerLevel=WARN",
	}})
	vm := testkit.Client{BaseURL: "http://127.0.0.1:8428", HTTP: n.http()}
	testkit.Eventually(t, testkit.WaitLimit, "VictoriaMetrics", vm.Health)
	return server, vm
}
