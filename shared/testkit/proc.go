package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tailLines is how much of a child's output a failed test prints.
const tailLines = 25

// Command is what StartProc runs.
type Command struct {
	Path string
	Args []string // without the program's name
	Dir  string   // working directory; "" is the test's own
	Env  []string // added to the test's own environment

	// Output is a file to which both streams are appended, for a child that is
	// restarted often or writes much. "" keeps them for Lines, WaitLine and the like.
	Output string
}

// Proc is a child process with captured output. It is killed when its test ends,
// and, on Linux, also when the whole test binary dies. Its methods may be called
// from several goroutines; those that can fail the test (WaitLine, Wait, Stop)
// belong to the test's own.
type Proc struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	out    *output
	stdout *stream
	stderr *stream
	done   chan struct{} // closed when the process has ended and its output is complete
	logged atomic.Bool   // its output is in a message already
}

// StartProc starts a child. When the test fails, the end of the child's output
// goes to the test's log.
func StartProc(t testing.TB, c Command) *Proc {
	t.Helper()
	p, err := startProc(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startProc(t testing.TB, c Command) (*Proc, error) {
	out := newOutput()
	p := &Proc{
		t: t, name: filepath.Base(c.Path), out: out,
		stdout: &stream{out: out}, stderr: &stream{out: out}, done: make(chan struct{}),
	}
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Dir = c.Dir
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if c.Output != "" {
		file, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return nil, fmt.Errorf("start %q: %w", c.Path, err)
		}
		defer file.Close()
		p.cmd.Stdout, p.cmd.Stderr = file, file
	}
	p.cmd.SysProcAttr = childAttr()
	// A grandchild that keeps the pipe open must not hold up the end of its parent.
	p.cmd.WaitDelay = 2 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %q: %w", c.Path, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is read from ProcessState
		p.out.end(p.stdout, p.stderr)
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		<-p.done
		if t.Failed() && len(p.Lines()) > 0 && !p.logged.Load() {
			t.Logf("the end of what %s (pid %d) wrote:\n%s", p.name, p.PID(), p.tail())
		}
	})
	return p, nil
}

// PID returns the process id. The kernel may reuse it once the process has ended.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal. A process that has ended already is no error.
func (p *Proc) Signal(sig os.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("send %v to %s (pid %d): %v", sig, p.name, p.PID(), err)
	}
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (p *Proc) Kill() {
	p.Signal(os.Kill)
	<-p.done
}

// Done is closed when the process has ended and all its output was read.
func (p *Proc) Done() <-chan struct{} { return p.done }

// ExitCode returns the exit code, -1 for a process ended by a signal. It may be
// called only after Done.
func (p *Proc) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Wait returns the exit code (-1: ended by a signal) and fails the test when the
// process still runs after limit.
func (p *Proc) Wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%s (pid %d) still runs after %v", p.name, p.PID(), limit)
		return -1
	}
}

// Stop sends SIGTERM and waits.
func (p *Proc) Stop(limit time.Duration) int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait(limit)
}

// WaitLine returns the first line of the output, from its beginning, that
// contains substr. It fails the test when none came within limit, and at once
// when the process ended without one.
func (p *Proc) WaitLine(limit time.Duration, substr string) string {
	p.t.Helper()
	line, err := p.waitLine(limit, substr)
	if err != nil {
		p.t.Fatal(err)
	}
	return line
}

func (p *Proc) waitLine(limit time.Duration, substr string) (string, error) {
	timeout := time.After(limit)
	next := 0
	for {
		line, after, found, ended, changed := p.out.find(next, substr)
		next = after
		switch {
		case found:
			return line, nil
		case ended:
			return "", fmt.Errorf("%s ended with %v and wrote no line with %q", p.name, p.cmd.ProcessState, substr)
		}
		select {
		case <-changed:
		case <-timeout:
			return "", fmt.Errorf("%s wrote no line with %q within %v", p.name, substr, limit)
		}
	}
}

// Lines returns all complete lines so far, standard output and standard error in
// the order in which they arrived.
func (p *Proc) Lines() []string { return p.out.all() }

// Stdout returns everything written to standard output so far.
func (p *Proc) Stdout() string { return p.stdout.String() }

// Stderr returns everything written to standard error so far.
func (p *Proc) Stderr() string { return p.stderr.String() }

func (p *Proc) tail() string {
	lines := p.Lines()
	if n := len(lines) - tailLines; n > 0 {
		lines = append([]string{fmt.Sprintf("(%d lines before)", n)}, lines[n:]...)
	}
	return strings.Join(lines, "\n")
}
