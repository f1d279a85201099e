package testkit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func self(t testing.TB, role string) Command {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Command{Path: path, Env: []string{childEnv + "=" + role}}
}

func TestProc_Output(t *testing.T) {
	t.Parallel()
	p := StartProc(t, self(t, "talk"))
	if got := p.Wait(WaitLimit); got != 7 {
		t.Errorf("exit code %d, want 7", got)
	}
	if got, want := p.Stdout(), "hello from stdout\nno newline"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if got, want := p.Stderr(), "hello from stderr\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
	got := p.Lines()
	slices.Sort(got) // which stream is read first is not fixed
	want := []string{"hello from stderr", "hello from stdout", "no newline"}
	if !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
	if line := p.WaitLine(0, "from stdout"); line != "hello from stdout" {
		t.Errorf("line %q, want a line of a process that has ended to be found", line)
	}
	if p.CPUTime() <= 0 {
		t.Errorf("CPU time %v, want more than 0", p.CPUTime())
	}
}

func TestProc_OutputToFile(t *testing.T) {
	t.Parallel()
	c := self(t, "talk")
	c.Output = filepath.Join(t.TempDir(), "log")
	for range 2 {
		p := StartProc(t, c)
		p.Wait(WaitLimit)
		if got := p.Lines(); len(got) > 0 {
			t.Errorf("lines %q, want none beside the file", got)
		}
	}
	got, err := os.ReadFile(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("hello from stdout\nhello from stderr\nno newline", 2); string(got) != want {
		t.Errorf("file %q, want %q", got, want)
	}
}

func TestProc_Stop(t *testing.T) {
	t.Parallel()
	p := StartProc(t, self(t, "polite"))
	p.WaitLine(WaitLimit, "ready")
	if got := p.Stop(WaitLimit); got != 0 {
		t.Errorf("exit code %d, want 0", got)
	}
	p.WaitLine(0, "stopping")
	p.Signal(syscall.SIGTERM) // to a process that has gone: no failure
}

func TestProc_Kill(t *testing.T) {
	t.Parallel()
	p := StartProc(t, self(t, "stubborn"))
	p.WaitLine(WaitLimit, "ready")
	p.Kill()
	if got := p.Wait(WaitLimit); got != -1 {
		t.Errorf("exit code %d, want -1", got)
	}
}

func TestProc_Failures(t *testing.T) {
	t.Parallel()
	f := func(name, want string, test func(t testing.TB)) {
		t.Helper()
		if got := failure(t, test); !strings.Contains(got, want) {
			t.Errorf("%s: message %q, want %q in it", name, got, want)
		}
	}
	f("no such program", `start "/no/such/program"`, func(t testing.TB) {
		StartProc(t, Command{Path: "/no/such/program"})
	})
	f("line never came", `wrote no line with "gone" within 1ms`, func(t testing.TB) {
		StartProc(t, self(t, "stubborn")).WaitLine(time.Millisecond, "gone")
	})
	f("ended without the line", `ended with exit status 7 and wrote no line with "gone"`, func(t testing.TB) {
		StartProc(t, self(t, "talk")).WaitLine(time.Minute, "gone")
	})
	f("the output is shown", "hello from stderr", func(t testing.TB) {
		p := StartProc(t, self(t, "talk"))
		<-p.Done()
		t.Errorf("something else")
	})
	f("does not end", "still runs after 1ms", func(t testing.TB) {
		p := StartProc(t, self(t, "stubborn"))
		p.WaitLine(WaitLimit, "ready")
		p.Stop(time.Millisecond)
	})
}

func TestProc_CleanupKills(t *testing.T) {
	t.Parallel()
	var p *Proc
	failure(t, func(t testing.TB) { p = StartProc(t, self(t, "stubborn")) })
	select {
	case <-p.Done():
	default:
		t.Error("the child outlived its test")
	}
}

func TestParseUsage(t *testing.T) {
	t.Parallel()
	const (
		stat   = "42 (a b) R) S 1 2 3 4 5 6 7 8 9 10 123 45 0 0 20 0 1 0 99\n"
		status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
		io     = "rchar: 1\nread_bytes: 2\nwrite_bytes: 4096\ncancelled_write_bytes: 0\n"
	)
	got, err := parseUsage(stat, status, io)
	if err != nil {
		t.Fatal(err)
	}
	want := Usage{User: 1230 * time.Millisecond, System: 450 * time.Millisecond, RSS: 1 << 20, PeakRSS: 2 << 20, WrittenBytes: 4096}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range [][3]string{
		{"", status, io},
		{"42 (x) S 1 2", status, io},
		{strings.Replace(stat, "123", "x", 1), status, io},
		{stat, "VmRSS: 1 kB\n", io},
		{stat, status, "write_bytes:\n"},
	} {
		if got, err := parseUsage(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("parseUsage(%q) = %+v, want an error", bad, got)
		}
	}
}
