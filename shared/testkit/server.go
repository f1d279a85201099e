package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var errServerEnded = errors.New("it ended by itself")

// server is one of VictoriaMetrics' programs on a loopback port, which it keeps
// when it is stopped or killed and started again. Client asks it.
type server struct {
	Client
	t       testing.TB
	program string
	args    []string // beside the address
	mark    string   // in /flags of this server alone
	addr    string

	mu   sync.Mutex
	proc *Proc
}

// startServer starts the program and returns when it answers. It is killed when
// the test ends.
func startServer(t testing.TB, program, mark string, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is not on the PATH: run scripts/test-deps.sh once (it installs what the tests need), then the test again", program)
	}
	s := &server{t: t, program: program, args: args, mark: mark}
	// Another process may take the free port before the server has it.
	for tries := 3; ; tries-- {
		s.addr = FreeAddr(t)
		s.BaseURL = "http://" + s.addr
		err := s.launch()
		if err == nil {
			return s
		}
		if tries == 1 || !errors.Is(err, errServerEnded) {
			t.Fatal(err)
		}
	}
}

// Addr returns host:port.
func (s *server) Addr() string { return s.addr }

// URL returns the server's address without a path.
func (s *server) URL() string { return s.BaseURL }

// ImportURL returns where JSON lines are posted.
func (s *server) ImportURL() string { return s.BaseURL + "/api/v1/import" }

// PID returns the server's process id.
func (s *server) PID() int { return s.Proc().PID() }

// Proc returns the server's process, the last one when it was started again.
func (s *server) Proc() *Proc {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Metrics returns the server's page about itself.
func (s *server) Metrics() (Metrics, error) { return s.do(http.MethodGet, "/metrics", "", nil) }

// Metrics is a page of metrics in Prometheus' text format, of one moment.
type Metrics []byte

// Sum adds up the lines that begin with name, "vm_http_requests_total{", and have
// also in them. That there is none is an error.
func (m Metrics) Sum(name, also string) (sum int64, err error) {
	found := false
	for line := range bytes.Lines(m) {
		if !bytes.HasPrefix(line, []byte(name)) || !bytes.Contains(line, []byte(also)) {
			continue
		}
		text := string(bytes.TrimSpace(line[bytes.LastIndexByte(line, ' ')+1:]))
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("metrics line %q: %w", line, err)
		}
		sum, found = sum+int64(n), true
	}
	if !found {
		return 0, fmt.Errorf("no metric %s with %s", name, also)
	}
	return sum, nil
}

// Kill ends the server with SIGKILL.
func (s *server) Kill() { s.Proc().Kill() }

// Stop ends the server with SIGTERM: it writes everything to its disk.
func (s *server) Stop() error {
	p := s.Proc()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(WaitLimit):
		return fmt.Errorf("stop %s: it still runs after %v", s.program, WaitLimit)
	}
	if p.ExitCode() != 0 {
		return fmt.Errorf("stop %s: exit code %d", s.program, p.ExitCode())
	}
	return nil
}

// Start brings a server that was stopped or killed back, on the same address with
// the same data, and returns when it answers. Like Kill and Stop it may be called
// from any goroutine.
func (s *server) Start() error {
	deadline := time.Now().Add(WaitLimit)
	for {
		err := s.launch()
		if err == nil || !errors.Is(err, errServerEnded) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// launch starts the process and waits until it answers.
func (s *server) launch() error {
	args := append([]string{"-httpListenAddr=" + s.addr, "-loggerLevel=ERROR"}, s.args...)
	p, err := startProc(s.t, Command{Path: s.program, Args: args})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	err = poll(WaitLimit, func() error {
		select {
		case <-p.Done():
			return nil // it ended
		default:
			return s.answers()
		}
	})
	select {
	case <-p.Done():
		p.logged.Store(true) // in the error
		return fmt.Errorf("start %s: %w: exit code %d: %s", s.program, errServerEnded, p.ExitCode(), p.tail())
	default:
	}
	if err != nil {
		p.Kill()
		return fmt.Errorf("start %s: it does not answer: %w", s.program, err)
	}
	return nil
}

// answers returns nil when this server answers: on a port that another test's
// server took a moment ago, /health would be the other one's.
func (s *server) answers() error {
	if err := s.Health(); err != nil {
		return err
	}
	flags, err := s.do(http.MethodGet, "/flags", "", nil)
	if err != nil {
		return err
	}
	if !strings.Contains(string(flags), s.mark) {
		return fmt.Errorf("another server has the address %s", s.addr)
	}
	return nil
}
