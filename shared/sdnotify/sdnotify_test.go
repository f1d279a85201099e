package sdnotify

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// No test here runs in parallel: the protocol lives in environment variables.

// manager is systemd's side of the socket.
type manager struct {
	*net.UnixConn
	path string
}

func listen(t *testing.T) manager {
	t.Helper()
	// Not t.TempDir: its path holds the test's name, and the address of a socket has room for 104
	// bytes (macOS).
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := manager{path: filepath.Join(dir, "notify")}
	m.UnixConn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	t.Setenv("NOTIFY_SOCKET", m.path)
	return m
}

// message waits for the next message; the limit only keeps a broken test from hanging.
func (m manager) message(t *testing.T, limit time.Duration) (string, bool) {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := m.Read(buf)
	return string(buf[:n]), err == nil
}

func (m manager) want(t *testing.T, want string) {
	t.Helper()
	if got, ok := m.message(t, 2*time.Minute); !ok || got != want {
		t.Errorf("got %q, %v, want %q", got, ok, want)
	}
}

// watch runs Watchdog with the given limit until the test ends.
func watch(t *testing.T, limit time.Duration, alive func() bool) {
	t.Helper()
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(limit.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Watchdog(ctx, alive) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watchdog: got %v, want nil", err)
		}
	})
}

func yes() bool { return true }

func TestMessages(t *testing.T) {
	m := listen(t)
	f := func(send func() error, want string) {
		t.Helper()
		if err := send(); err != nil {
			t.Error(err)
		}
		m.want(t, want)
	}
	f(Ready, "READY=1")
	f(Stopping, "STOPPING=1")
	f(func() error { return Status("ok, 12 rows pending") }, "STATUS=ok, 12 rows pending")
	f(func() error { return Status("first\nSTOPPING=1\r\n") }, "STATUS=first STOPPING=1  ")
}

func TestWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	for _, send := range []func() error{Ready, Stopping, func() error { return Status("x") }} {
		if err := send(); err != nil {
			t.Errorf("got %v, want nil", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- Watchdog(ctx, func() bool {
			t.Error("Watchdog asked without a watchdog")
			return true
		})
	}()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watchdog: got %v, want nil", err)
	}
}

func TestSocketGone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := Ready(); err == nil || !strings.HasPrefix(err.Error(), "notify systemd: ") {
		t.Errorf("got %v, want an error that names systemd", err)
	}
}

func TestWatchdog_BadInterval(t *testing.T) {
	for _, text := range []string{"x", "0", "-1"} {
		t.Setenv("WATCHDOG_USEC", text)
		t.Setenv("WATCHDOG_PID", "")
		if err := Watchdog(t.Context(), yes); err == nil || !strings.Contains(err.Error(), "WATCHDOG_USEC") {
			t.Errorf("%q: got %v, want an error that names WATCHDOG_USEC", text, err)
		}
	}
}

// TestWatchdog_AnotherProcess has a watchdog that is meant for another PID, as a child of the
// service sees it.
func TestWatchdog_AnotherProcess(t *testing.T) {
	m := listen(t)
	t.Setenv("WATCHDOG_USEC", "1000")
	t.Setenv("WATCHDOG_PID", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Watchdog(ctx, yes); err != nil {
		t.Error(err)
	}
	if got, ok := m.message(t, time.Millisecond); ok {
		t.Errorf("got %q, want nothing", got)
	}
}

// TestWatchdog_Pace runs in fake time: it sees when Watchdog asks, which is when it sends.
func TestWatchdog_Pace(t *testing.T) {
	f := func(name, socket string, alive bool, want time.Duration) {
		t.Helper()
		t.Setenv("NOTIFY_SOCKET", socket)
		t.Setenv("WATCHDOG_USEC", "60000000")
		t.Setenv("WATCHDOG_PID", "")
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			start, asked := time.Now(), 0
			err := Watchdog(ctx, func() bool {
				if got := time.Since(start); got != time.Duration(asked)*want {
					t.Errorf("%s: got question %d after %v, want one each %v", name, asked, got, want)
				}
				asked++
				return alive
			})
			// The last one coincides with the end of ctx, and either may win.
			if n := int(5 * time.Minute / want); err != nil || asked < n || asked > n+1 {
				t.Errorf("%s: got %v and %d questions, want nil and %d", name, err, asked, n)
			}
		})
	}
	f("alive", "", true, 30*time.Second)
	f("not alive", "", false, 6*time.Second)
	f("not sent", filepath.Join(t.TempDir(), "none"), true, 6*time.Second)
}

func TestWatchdog_OnlyWhileAlive(t *testing.T) {
	m := listen(t)
	var dead atomic.Bool
	asked := make(chan bool)
	watch(t, 50*time.Millisecond, func() bool {
		if !dead.Load() {
			return true
		}
		asked <- true
		return false
	})
	m.want(t, "WATCHDOG=1")
	dead.Store(true)
	for range 10 { // two halves of the interval
		<-asked
	}
	for {
		if _, ok := m.message(t, time.Millisecond); !ok {
			break // what was sent before the loop died
		}
	}
	for range 10 {
		<-asked
	}
	if got, ok := m.message(t, time.Millisecond); ok {
		t.Errorf("got %q from a dead loop, want nothing", got)
	}
	dead.Store(false)
	go func() { // the question that was under way
		select {
		case <-asked:
		case <-t.Context().Done():
		}
	}()
	m.want(t, "WATCHDOG=1")
}

// TestWatchdog_SocketComesBack has systemd away for a moment: the pings go on after it.
func TestWatchdog_SocketComesBack(t *testing.T) {
	m := listen(t)
	watch(t, 50*time.Millisecond, yes)
	m.want(t, "WATCHDOG=1")
	away := m.path + ".away"
	if err := os.Rename(m.path, away); err != nil {
		t.Fatal(err)
	}
	for {
		if _, ok := m.message(t, 60*time.Millisecond); !ok {
			break
		}
	}
	if err := os.Rename(away, m.path); err != nil {
		t.Fatal(err)
	}
	m.want(t, "WATCHDOG=1")
}
