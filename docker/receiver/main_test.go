package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

const tookOne = `{"accepted":1,"rejected":0,"lines":[]}`

func newDB(t testing.TB) string { return filepath.Join(t.TempDir(), "receiver.db") }

func TestRun_CommandLine(t *testing.T) {
	t.Parallel()
	f := func(code int, stdout, stderr string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // if it starts after all, it ends
		if got := run(ctx, args, &out, &errs); got != code {
			t.Errorf("%q: got exit code %d, want %d; %s", args, got, code, errs.String())
		}
		if !strings.Contains(out.String(), stdout) || (stdout == "") != (out.Len() == 0) {
			t.Errorf("%q: got %q on stdout, want %q", args, out.String(), stdout)
		}
		if !strings.Contains(errs.String(), stderr) || (stderr == "") != (errs.Len() == 0) {
			t.Errorf("%q: got %q on stderr, want %q", args, errs.String(), stderr)
		}
	}
	f(0, "Usage: receiver [flags]", "", "-h")
	f(0, "-retention DURATION", "", "--help")
	f(0, "receiver ", "", "-version")
	f(2, "", "flag provided but not defined: -x", "-x")
	// The gateway's flags say what to use instead.
	for _, name := range removedFlags {
		f(2, "", "flag -"+name+" was removed: the receiver is no longer a gateway", "-listen", "127.0.0.1:0", "-"+name, "x")
		f(2, "", "vmauth", "--"+name+"=x")
	}
	f(2, "", `unexpected argument "start"`, "start")
	f(2, "", "invalid value", "-max-body-bytes", "many")
	f(2, "", "-listen: address 8428: missing port in address", "-listen", "8428")
	// All faults at once.
	for _, want := range []string{
		"-db: the name is empty", "-max-body-bytes: 0 is not above 0",
		"-max-decoded-bytes: -1 is not above 0", "-retention: -1h0m0s is below 0",
	} {
		f(2, "", want, "-db", "", "-max-body-bytes", "0", "-max-decoded-bytes", "-1", "-retention", "-1h")
	}
	f(1, "", "does not exist; create it first", "-db", filepath.Join(t.TempDir(), "missing", "receiver.db"), "-listen", "127.0.0.1:0")
}

func TestRun_AddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"-listen", taken.Addr().String(), "-db", newDB(t)}, io.Discard, &errs); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	if !strings.Contains(errs.String(), "address already in use") {
		t.Errorf("got %s", errs.String())
	}
}

// SIGTERM and SIGINT end it cleanly: one file is left, and the next start has all.
func TestReceiver_StopAndStart(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for round, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGTERM} {
		c := startChild(t, db)
		if got := len(c.timestamps(t, "a")); got != round {
			t.Errorf("start %d: got %d samples, want %d", round, got, round)
		}
		if got, err := c.send("a", round); err != nil || got != tookOne {
			t.Errorf("got %s, %v", got, err)
		}
		if code := c.stop(t, sig); code != 0 {
			t.Errorf("%v: got exit code %d, want 0; %s", sig, code, c.logText())
		}
		for _, suffix := range []string{"-wal", "-shm"} {
			if _, err := os.Stat(db + suffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%v left %s%s: %v", sig, db, suffix, err)
			}
		}
	}
}

// A client that hangs in the middle of its request must not hold up the stop.
func TestReceiver_StopsInTime(t *testing.T) {
	t.Parallel()
	c := startChild(t, newDB(t))
	var conns []net.Conn
	for _, text := range []string{"", "POST /api", "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	// An answer on another connection shows that the server has gone on accepting.
	if got, err := c.send("a", 1); err != nil || got != tookOne {
		t.Fatalf("got %s, %v", got, err)
	}
	if code := c.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("got exit code %d, want 0; %s", code, c.logText())
	}
	for _, conn := range conns {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("got %d bytes from a stopped receiver", n)
		}
	}
}

// A second signal ends it at once, whatever is under way.
func TestReceiver_SecondSignalKills(t *testing.T) {
	t.Parallel()
	c := startChild(t, newDB(t))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.send("a", 1); err != nil || got != tookOne {
		t.Fatalf("got %s, %v", got, err)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// It waits for the request now; from the second signal on that counts no longer.
	for {
		select {
		case <-c.end:
			if code := c.cmd.ProcessState.ExitCode(); code != -1 {
				t.Errorf("got exit code %d, want death by the signal", code)
			}
			return
		case <-time.After(10 * time.Millisecond):
			_ = c.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
		}
	}
}

func TestReceiver_SecondCopy(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	c := startChild(t, db)
	out, err := command(t, "-listen", "127.0.0.1:0", "-db", db).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("got %v, want exit code 1", err)
	}
	if want := "another process has it open"; !strings.Contains(string(out), want) {
		t.Errorf("got %s, want %q", out, want)
	}
	// The first one does not notice.
	if got, err := c.send("a", 1); err != nil || got != tookOne {
		t.Errorf("got %s, %v", got, err)
	}
	// The lock of one that was killed does not stop the next.
	c.stop(t, syscall.SIGKILL)
	startChild(t, db)
}

// The program asks another copy of itself whether it is healthy.
func TestReceiver_Healthcheck(t *testing.T) {
	t.Parallel()
	c := startChild(t, newDB(t))
	if out, err := command(t, "-healthcheck", "-listen", c.addr).CombinedOutput(); err != nil || string(out) != "OK\n" {
		t.Errorf("got %q, %v", out, err)
	}
	c.stop(t, syscall.SIGKILL)
	out, err := command(t, "-healthcheck", "-listen", c.addr).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "connection refused") {
		t.Errorf("got %q, %v", out, err)
	}
}

// What was answered is there after kill -9, at whatever moment that came.
func TestReceiver_KillKeepsAnswered(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	answered := make(map[int]bool)
	next := 0
	for round := range 10 {
		c := startChild(t, db)
		held := c.timestamps(t, "a")
		for ms := range answered {
			if !held[ms] {
				t.Fatalf("round %d: sample %d was answered and is gone", round, ms)
			}
		}
		// Four senders until the receiver dies under them, after a number of answers that differs
		// by round.
		var mu sync.Mutex
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() {
				for {
					mu.Lock()
					ms := next
					next++
					mu.Unlock()
					got, err := c.send("a", ms)
					mu.Lock()
					if err == nil && got == tookOne {
						answered[ms] = true
					}
					enough := len(answered) >= 40*(round+1)+7*round
					mu.Unlock()
					if enough && err == nil {
						_ = c.cmd.Process.Kill() // several senders may do it
					}
					if err != nil {
						return
					}
				}
			})
		}
		senders.Wait()
		c.wait(t)
	}
	c := startChild(t, db)
	held := c.timestamps(t, "a")
	for ms := range answered {
		if !held[ms] {
			t.Errorf("sample %d was answered and is gone", ms)
		}
	}
	if len(answered) < 200 {
		t.Errorf("only %d samples were answered", len(answered))
	}
	t.Logf("%d answered, %d held, %d sent", len(answered), len(held), next)
	if code := c.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("got exit code %d; %s", code, c.logText())
	}
}

// The flags reach what they are for.
func TestReceiver_Flags(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	c := startChild(t, db)
	if got, err := c.send("a", 1, 2, 3); err != nil || got != `{"accepted":3,"rejected":0,"lines":[]}` {
		t.Fatalf("got %s, %v", got, err)
	}
	c.stop(t, syscall.SIGTERM)

	// With a retention, the old samples go at the start, and new ones of that age are refused.
	c = startChild(t, db, "-retention", "1h", "-max-body-bytes", "500", "-max-decoded-bytes", "400")
	testkit.Eventually(t, 2*time.Minute, "the old samples to go", func() bool { return len(c.timestamps(t, "a")) == 0 })
	if got, err := c.send("a", 1); err != nil || !strings.Contains(got, "older than the retention") {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := c.send("a", make([]int, 23)...); err == nil || !strings.Contains(got, "larger than 400 bytes after decompression") {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := c.send("a", make([]int, 30)...); err == nil || !strings.Contains(got, "larger than 500 bytes") {
		t.Errorf("got %s, %v", got, err)
	}
	if code := c.stop(t, syscall.SIGTERM); code != 0 || !strings.Contains(c.logText(), `msg="old samples removed" samples=3`) {
		t.Errorf("got exit code %d; %s", code, c.logText())
	}
}
