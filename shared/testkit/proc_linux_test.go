package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProc_DiesWithTheTestBinary(t *testing.T) {
	t.Parallel()
	parent := StartProc(t, self(t, "parent"))
	line := parent.WaitLine(WaitLimit, "child ")
	pid, err := strconv.Atoi(strings.TrimPrefix(line, "child "))
	if err != nil {
		t.Fatal(err)
	}
	parent.Kill()
	Eventually(t, WaitLimit, fmt.Sprintf("pid %d to end", pid), func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		// Where nobody reaps orphans, it stays a zombie.
		return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || strings.Contains(string(stat), ") Z ")
	})
}

func TestProc_Usage(t *testing.T) {
	t.Parallel()
	p := StartProc(t, self(t, "stubborn"))
	p.WaitLine(WaitLimit, "ready")
	u, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.RSS < 1<<20 || u.PeakRSS < u.RSS || u.CPU() < 0 || u.WrittenBytes < 0 {
		t.Errorf("implausible usage of a Go program: %+v", u)
	}
	p.Kill()
	if u, err := ReadUsage(p.PID()); err == nil {
		t.Errorf("usage of a process that has gone: %+v, want an error", u)
	}
}

func TestReadCPUTime(t *testing.T) {
	t.Parallel()
	before, err := ReadCPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	after, err := ReadCPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// getrusage has the same sum, up to rounding.
	used := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	if before <= 0 || used < before-20*time.Millisecond || used > after+20*time.Millisecond {
		t.Errorf("CPU time %v before and %v after getrusage said %v", before, after, used)
	}
	p := StartProc(t, self(t, "stubborn"))
	p.Kill()
	if d, err := ReadCPUTime(p.PID()); err == nil {
		t.Errorf("CPU time of a process that has gone: %v, want an error", d)
	}
}
