package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// child is a running program.
type child struct {
	program
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended and its last line is out
	works bool          // it has answered
}

// start runs a program in a process group of its own: the terminal sends Ctrl-C to
// a whole group, and the order of stopping is ours.
func start(p program, log *lines, ended chan<- *child) (*child, error) {
	c := &child{program: p, cmd: exec.Command(p.path, p.args...), done: make(chan struct{})}
	out := &prefixed{log: log, prefix: fmt.Sprintf("%-10s | ", p.name)}
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.SysProcAttr = childAttr()
	c.cmd.WaitDelay = time.Second // its own children may hold on to its output
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		_ = c.cmd.Wait() // how it ended is in ProcessState
		out.flush()
		close(c.done)
		ended <- c
	}()
	return c, nil
}

// over reports whether the program has ended.
func (c *child) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *child) diedError() error {
	return fmt.Errorf("%s exited: %v (see its last lines above)", c.name, c.cmd.ProcessState)
}

// stop asks the program to end and waits; a signal or the limit makes it a kill.
func (c *child) stop(signals <-chan os.Signal) error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !c.over() {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	var killed error
	select {
	case <-c.done:
		// A program that was still starting may not have listened for the signal.
		if c.cmd.ProcessState.ExitCode() == 0 || !c.works {
			return nil
		}
		return fmt.Errorf("stop %s: %v", c.name, c.cmd.ProcessState)
	case <-time.After(stopLimit):
		killed = fmt.Errorf("stop %s: it still ran after %v and was killed", c.name, stopLimit)
	case <-signals:
		killed = fmt.Errorf("stop %s: killed by a second signal", c.name)
	}
	_ = c.cmd.Process.Kill() // it may end at this very moment by itself
	<-c.done
	return killed
}

// lines writes whole lines of several writers.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) write(prefix string, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A terminal that has gone is no reason to end otherwise than in order.
	_, _ = fmt.Fprintf(l.out, "%s%s\n", prefix, line)
}

func (l *lines) say(text string) { l.write("", []byte(text)) }

// prefixed puts the program's name before each of its lines. One goroutine of
// os/exec writes to it.
type prefixed struct {
	log    *lines
	prefix string
	rest   []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		p.log.write(p.prefix, line)
		p.rest = rest
	}
}

// flush writes a last line that has no newline.
func (p *prefixed) flush() {
	if len(p.rest) > 0 {
		p.log.write(p.prefix, p.rest)
	}
}
