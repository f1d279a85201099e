package lock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

// The test binary becomes another process when this variable is set: a mode, a colon and the path
// of the lock.
const childVar = "BELABOX_LOCK_TEST_CHILD"

func TestMain(m *testing.M) {
	if job, path, ok := strings.Cut(os.Getenv(childVar), ":"); ok {
		os.Exit(child(job, path))
	}
	os.Exit(m.Run())
}

// child takes the lock, says how that went on one line, and holds until its standard input ends.
func child(job, path string) int {
	if job == "idle" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	}
	l, err := Acquire(path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if job == "hold-with-child" {
		program := self()
		grandchild := exec.Command(program[0], program[1:]...)
		grandchild.Env = append(os.Environ(), childVar+"=idle:")
		grandchild.Stdin = os.Stdin // so that it lives as long as the test keeps the pipe open
		if err := grandchild.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(grandchild.Process.Pid)
	} else {
		fmt.Println("held")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := l.Release(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// self is the command of this program, in the emulator that runs it.
func self() []string {
	if emulator := os.Getenv(testkit.EmulatorVar); emulator != "" {
		return []string{emulator, os.Args[0]}
	}
	return os.Args[:1]
}

// process is another process that holds the lock or wants it.
type process struct {
	*exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
}

// Tests that call it are not parallel: between fork and exec the new process has every file of this
// one, so that a lock which another test has just released would still be held.
func start(t *testing.T, job, path string) *process {
	t.Helper()
	program := self()
	cmd := exec.CommandContext(t.Context(), program[0], program[1:]...)
	cmd.Env = append(os.Environ(), childVar+"="+job+":"+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A real pipe, so that a grandchild can inherit it and nothing but its end ends the processes.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	cmd.Stdin = r
	err = cmd.Start()
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	return &process{Cmd: cmd, stdin: w, stdout: bufio.NewReader(out)}
}

// line waits for what the process says.
func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*exec.ExitError](p.Wait()); !ok {
		t.Error("the process ended by itself, want it killed")
	}
}

func TestProcess_SecondCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	first := start(t, "hold", path)
	if got := first.line(t); got != "held" {
		t.Fatalf("first process: got %q, want held", got)
	}

	_, err := Acquire(path)
	held, ok := errors.AsType[*HeldError](err)
	if !ok || !errors.Is(err, ErrHeld) {
		t.Fatalf("got %v, want a *HeldError that is %v", err, ErrHeld)
	}
	if held.PID != first.Process.Pid || held.Path != path {
		t.Errorf("got holder %d of %s, want %d of %s", held.PID, held.Path, first.Process.Pid, path)
	}

	second := start(t, "hold", path)
	want := fmt.Sprintf("lock %q is held by process %d", path, first.Process.Pid)
	if got := second.line(t); !strings.HasPrefix(got, want) {
		t.Errorf("second process: got %q, want it to begin with %q", got, want)
	}
	if exit, ok := errors.AsType[*exec.ExitError](second.Wait()); !ok || exit.ExitCode() != 1 {
		t.Errorf("second process: got %v, want exit code 1", exit)
	}

	first.stdin.Close()
	if err := first.Wait(); err != nil {
		t.Errorf("first process: %v", err)
	}
	acquire(t, path)
}

func TestProcess_Killed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	p := start(t, "hold", path)
	if got := p.line(t); got != "held" {
		t.Fatalf("got %q, want held", got)
	}
	p.kill(t)
	wantContent(t, path, fmt.Sprintf("%d\n", p.Process.Pid))
	acquire(t, path)
	wantContent(t, path, fmt.Sprintf("%d\n", os.Getpid()))
}

// TestProcess_ChildDoesNotInherit kills a holder whose own child lives on.
func TestProcess_ChildDoesNotInherit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	p := start(t, "hold-with-child", path)
	grandchild, err := strconv.Atoi(p.line(t))
	if err != nil {
		t.Fatalf("got %v, want the child's PID", err)
	}
	p.kill(t)
	if !alive(grandchild) {
		t.Fatal("the holder's child is gone too, so this test shows nothing")
	}
	acquire(t, path)
}

// TestProcess_Race starts several copies at once: exactly one wins.
func TestProcess_Race(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	var copies []*process
	for range 6 {
		copies = append(copies, start(t, "hold", path))
	}
	won := 0
	for _, p := range copies {
		if line := p.line(t); line == "held" {
			won++
		} else if !strings.Contains(line, "is held by process ") {
			t.Errorf("got %q, want held or the holder's name", line)
		}
	}
	if won != 1 {
		t.Errorf("got %d holders, want 1", won)
	}
}
