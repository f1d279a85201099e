package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/testkit"
)

// The tests run the whole program: this test binary becomes devrun, and by way of
// small scripts in a bin/ of its own also the three that devrun starts.
const (
	roleEnv = "DEVRUN_TEST_ROLE"
	selfEnv = "DEVRUN_TEST_BINARY"
	limit   = 20 * time.Second
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(m.Run())
	case "devrun": // as main, on ports that no other test wants
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		port := 10000 + os.Getpid()%3000*3
		if err := run(signals, ports{port, port + 1, port + 2}); err != nil {
			fmt.Fprintln(os.Stderr, "make run:", err)
			os.Exit(1)
		}
	default:
		os.Exit(daemon(role, os.Args[1:]))
	}
}

// daemon stands in for collectord, shipperd or a sink. A file NAME.does in run/
// makes it misbehave: "die" (once it works), "fail" (at the start), "deaf" (to
// SIGTERM), "sour" (exit code 4 at the end), "mute" (never answers).
func daemon(name string, args []string) int {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	addr, err := listenAddr(name, args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	does, _ := os.ReadFile(filepath.Join("run", name+".does")) // none: it behaves
	fmt.Printf("%s with pid %d\n", name, os.Getpid())
	if string(does) == "fail" {
		return 3
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	die := make(chan bool, 1)
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		switch string(does) {
		case "die":
			die <- true
		case "mute":
			select {}
		}
	})
	go func() { _ = http.Serve(l, handler) }()
	for {
		select {
		case <-die:
			return 3
		case <-terms:
			fmt.Print(name, " says goodbye")
			switch string(does) {
			case "deaf":
				fmt.Println(", not")
				continue
			case "sour":
				return 4
			}
			return 0
		}
	}
}

func listenAddr(name string, args []string) (string, error) {
	if name == "sink" {
		for i, arg := range args {
			if addr, ok := strings.CutPrefix(arg, "-httpListenAddr="); ok {
				return addr, nil
			}
			if arg == "-listen" {
				return args[i+1], nil
			}
		}
		return "", fmt.Errorf("no address in %q", args)
	}
	if len(args) != 2 || args[0] != "-config" {
		return "", fmt.Errorf("%s got %q", name, args)
	}
	c, err := config.Load(args[1])
	if name == "collectord" {
		return c.Health.CollectordListen, err
	}
	return c.Health.ShipperdListen, err
}

// checkout makes a directory with a bin/ as make leaves it.
func checkout(t *testing.T, sink string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), `a "checkout"`)
	for _, dir := range []string{"bin", "run", "path"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, role := range map[string]string{"bin/collectord": "collectord", "bin/shipperd": "shipperd", sink: "sink"} {
		script := fmt.Sprintf("#!/bin/sh\n%s=%s exec \"$%s\" \"$@\"\n", roleEnv, role, selfEnv)
		if err := os.WriteFile(filepath.Join(root, path), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	withVM       = "path/victoria-metrics"
	withReceiver = "bin/receiver"
)

func misbehave(t *testing.T, root, name, does string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, "run", name+".does"), []byte(does), 0o644); err != nil {
		t.Fatal(err)
	}
}

func devrun(t *testing.T, root string) *testkit.Proc {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return testkit.StartProc(t, testkit.Command{Path: self, Dir: root, Env: []string{
		roleEnv + "=devrun", selfEnv + "=" + self, "PATH=" + filepath.Join(root, "path"),
		"GORACE=atexit_sleep_ms=0", // under the race detector an exit takes a second otherwise
	}})
}

// order returns the positions of the lines that contain the given texts, and
// fails the test where one is missing.
func order(t *testing.T, p *testkit.Proc, texts ...string) (at []int) {
	t.Helper()
	for _, text := range texts {
		i := slices.IndexFunc(p.Lines(), func(line string) bool { return strings.Contains(line, text) })
		if i < 0 {
			t.Fatalf("no line with %q", text)
		}
		at = append(at, i)
	}
	return at
}

func TestDevrun_StartsAndStopsInOrder(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		p := devrun(t, checkout(t, withVM))
		p.WaitLine(limit, "curl -sg 'http://127.0.0.1:")
		for _, name := range []string{"collectord", "shipperd"} {
			line := p.WaitLine(0, "  "+name)
			addr := regexp.MustCompile(`127[0-9.:]+`).FindString(line)
			if err := poll(t.Context(), program{addr: addr, ready: "/health/live"}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if sink := p.WaitLine(0, "  sink"); !strings.Contains(sink, "VictoriaMetrics") {
			t.Errorf("sink is %q, want the VictoriaMetrics on the PATH", sink)
		}
		p.Signal(sig)
		if code := p.Wait(limit); code != 0 {
			t.Errorf("exit code %d after %v, want 0", code, sig)
		}
		at := order(t, p,
			"sink       | sink with pid", "collectord | collectord with pid", "shipperd   | shipperd with pid", "All three are running",
			"stopping", "collectord | collectord says goodbye", "shipperd   | shipperd says goodbye", "sink       | sink says goodbye")
		if !slices.IsSorted(at) {
			t.Errorf("lines in the order %v: %q", at, p.Lines())
		}
	}
}

func TestDevrun_Receiver(t *testing.T) {
	t.Parallel()
	p := devrun(t, checkout(t, withReceiver))
	if sink := p.WaitLine(limit, "  sink"); !strings.Contains(sink, "receiver of this project") {
		t.Errorf("sink is %q, want the receiver", sink)
	}
	if code := p.Stop(limit); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestDevrun_OneEndsByItself(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"collectord", "shipperd", "sink"} {
		for _, does := range []string{"fail", "die"} {
			root := checkout(t, withVM)
			misbehave(t, root, name, does)
			p := devrun(t, root)
			if code := p.Wait(limit); code != 1 {
				t.Errorf("%s, %s: exit code %d, want 1", name, does, code)
			}
			if want := "make run: " + name + " exited: exit status 3"; !strings.Contains(p.Stderr(), want) {
				t.Errorf("%s, %s: %q, want %q", name, does, p.Stderr(), want)
			}
			if name != "sink" {
				order(t, p, "sink says goodbye")
			}
		}
	}
}

func TestDevrun_SecondSignalKills(t *testing.T) {
	t.Parallel()
	root := checkout(t, withVM)
	misbehave(t, root, "shipperd", "deaf")
	p := devrun(t, root)
	p.WaitLine(limit, "All three are running")
	p.Signal(os.Interrupt)
	p.WaitLine(limit, "says goodbye, not")
	p.Signal(os.Interrupt)
	if code := p.Wait(limit); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if !strings.Contains(p.Stderr(), "stop shipperd: killed by a second signal") {
		t.Errorf("stderr %q", p.Stderr())
	}
	order(t, p, "collectord says goodbye", "sink says goodbye")
}

func TestDevrun_BadEnd(t *testing.T) {
	t.Parallel()
	root := checkout(t, withVM)
	misbehave(t, root, "collectord", "sour")
	p := devrun(t, root)
	p.WaitLine(limit, "All three are running")
	if code := p.Stop(limit); code != 1 || !strings.Contains(p.Stderr(), "stop collectord: exit status 4") {
		t.Errorf("exit code %d and %q, want 1 and the reason", code, p.Stderr())
	}
	order(t, p, "shipperd says goodbye", "sink says goodbye")
}

func TestDevrun_StopWhileStarting(t *testing.T) {
	t.Parallel()
	root := checkout(t, withVM)
	misbehave(t, root, "sink", "mute")
	p := devrun(t, root)
	p.WaitLine(limit, "sink with pid")
	if code := p.Stop(limit); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if strings.Contains(p.Stdout(), "All three are running") {
		t.Error("it says that all run")
	}
}

func TestDevrun_TwiceInOnePlace(t *testing.T) {
	t.Parallel()
	root := checkout(t, withVM)
	first := devrun(t, root)
	first.WaitLine(limit, "All three are running")
	second := devrun(t, root)
	if code := second.Wait(limit); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if want := fmt.Sprintf("already running here (pid %d)", first.PID()); !strings.Contains(second.Stderr(), want) {
		t.Errorf("stderr %q, want %q", second.Stderr(), want)
	}
	if code := first.Stop(limit); code != 0 {
		t.Errorf("the first one: exit code %d, want 0", code)
	}
	third := devrun(t, root) // the place is free again
	third.WaitLine(limit, "All three are running")
}

func TestDevrun_NothingBuilt(t *testing.T) {
	t.Parallel()
	root := checkout(t, withVM)
	if err := os.Remove(filepath.Join(root, "bin", "shipperd")); err != nil {
		t.Fatal(err)
	}
	p := devrun(t, root)
	if code := p.Wait(limit); code != 1 || !strings.Contains(p.Stderr(), "make run: start shipperd: ") {
		t.Errorf("exit code %d and %q", code, p.Stderr())
	}
}

// pids returns the process ids that the children printed.
func pids(t *testing.T, p *testkit.Proc) (out []int) {
	t.Helper()
	for _, name := range []string{"sink", "collectord", "shipperd"} {
		_, text, _ := strings.Cut(p.WaitLine(limit, name+" with pid"), "with pid ")
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

func TestDevrun_GroupsOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := devrun(t, checkout(t, withVM))
	for _, pid := range pids(t, p) {
		if group, err := syscall.Getpgid(pid); err != nil || group != pid {
			t.Errorf("pid %d is in the process group %d, %v: Ctrl-C in a terminal would reach it", pid, group, err)
		}
	}
}

func TestPlan_Config(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), `with "quotes" and \ blanks`)
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := newPlan("/somewhere", data, ports{19000, 19001, 19002})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(filepath.Join(data, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Storage.Path != filepath.Join(data, "metrics.db") || c.Remote.URL != p.sinkURL+"/api/v1/import" {
		t.Errorf("storage %q, remote %q", c.Storage.Path, c.Remote.URL)
	}
	if c.Health.CollectordListen != p.collectord || c.Health.ShipperdListen != p.shipperd || p.collectord == p.shipperd {
		t.Errorf("ports %q and %q, want %q and %q", c.Health.CollectordListen, c.Health.ShipperdListen, p.collectord, p.shipperd)
	}
}

func TestFreeAddr(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", testkit.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	taken := map[int]bool{}
	seen := map[string]bool{l.Addr().String(): true}
	for range 3 {
		addr, err := freeAddr(port, taken)
		if err != nil || seen[addr] {
			t.Errorf("freeAddr gave %q, %v, which is taken", addr, err)
		}
		seen[addr] = true
	}
}

func TestPrefixed(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := &prefixed{log: &lines{out: &out}, prefix: "x: "}
	for _, text := range []string{"one\ntw", "o", "\n\nthree"} {
		if n, err := p.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	p.flush()
	if got, want := out.String(), "x: one\nx: two\nx: \nx: three\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPoll_GivesUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := poll(ctx, program{addr: testkit.FreeAddr(t), ready: "/"}); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("poll = %v, want the reason", err)
	}
}
