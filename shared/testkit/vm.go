package testkit

import (
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

const (
	vmBinary     = "victoria-metrics" // Debian's package and its program
	vmStartLimit = 20 * time.Second
	vmStopLimit  = 30 * time.Second
)

var errVMEnded = errors.New("start " + vmBinary + ": it ended by itself")

// VMConfig is what a test may want different from a stock server.
type VMConfig struct {
	Flags []string // further flags: "-dedup.minScrapeInterval=1ms"
	Dir   string   // its data; "" is a directory that ends with the test
}

// VM is a real VictoriaMetrics on a loopback port. Export, Query and the other
// methods of Client ask it.
type VM struct {
	Client
	t    testing.TB
	cfg  VMConfig
	addr string

	mu   sync.Mutex
	proc *Proc
}

// StartVM starts VictoriaMetrics and returns when it answers. The server is
// killed when the test ends.
func StartVM(t testing.TB, cfg VMConfig) *VM {
	t.Helper()
	if _, err := exec.LookPath(vmBinary); err != nil {
		t.Fatalf("%s is not on the PATH: run scripts/test-deps.sh once (it installs what the tests need), then the test again", vmBinary)
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	vm := &VM{t: t, cfg: cfg}
	// Another process may take the free port before the server has it.
	for tries := 3; ; tries-- {
		vm.addr = FreeAddr(t)
		vm.BaseURL = "http://" + vm.addr
		err := vm.launch()
		if err == nil {
			return vm
		}
		if tries == 1 || !errors.Is(err, errVMEnded) {
			t.Fatal(err)
		}
	}
}

// Addr returns host:port.
func (vm *VM) Addr() string { return vm.addr }

// URL returns the server's address without a path.
func (vm *VM) URL() string { return vm.BaseURL }

// ImportURL returns where JSON lines are posted.
func (vm *VM) ImportURL() string { return vm.BaseURL + "/api/v1/import" }

// PID returns the server's process id.
func (vm *VM) PID() int { return vm.Proc().PID() }

// Proc returns the server's process, the last one when it was started again.
func (vm *VM) Proc() *Proc {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return vm.proc
}

// Kill ends the server with SIGKILL: what it has answered 204 to in the last ten
// seconds is lost.
func (vm *VM) Kill() { vm.Proc().Kill() }

// Stop ends the server with SIGTERM: it writes everything to its disk.
func (vm *VM) Stop() error {
	p := vm.Proc()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
	case <-time.After(vmStopLimit):
		return fmt.Errorf("stop %s: it still runs after %v", vmBinary, vmStopLimit)
	}
	if p.ExitCode() != 0 {
		return fmt.Errorf("stop %s: exit code %d", vmBinary, p.ExitCode())
	}
	return nil
}

// Start brings a server that was stopped or killed back, on the same address with
// the same data, and returns when it answers. Like Kill and Stop it may be called
// from any goroutine.
func (vm *VM) Start() error {
	deadline := time.Now().Add(vmStartLimit)
	for {
		err := vm.launch()
		if err == nil || !errors.Is(err, errVMEnded) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// launch starts the process and waits until it answers.
func (vm *VM) launch() error {
	args := append([]string{
		"-httpListenAddr=" + vm.addr,
		"-storageDataPath=" + vm.cfg.Dir,
		"-loggerLevel=ERROR",
	}, vm.cfg.Flags...)
	p, err := startProc(vm.t, Command{Path: vmBinary, Args: args})
	if err != nil {
		return err
	}
	vm.mu.Lock()
	vm.proc = p
	vm.mu.Unlock()
	err = poll(vmStartLimit, func() error {
		select {
		case <-p.Done():
			return nil // it ended: no use in waiting
		default:
			return vm.answers()
		}
	})
	select {
	case <-p.Done():
		return fmt.Errorf("%w: exit code %d: %s", errVMEnded, p.ExitCode(), p.tail())
	default:
	}
	if err != nil {
		p.Kill()
		return fmt.Errorf("start %s: it does not answer: %w", vmBinary, err)
	}
	return nil
}

// answers tells whether this very server answers: on a port that another test's
// server took a moment ago /health would be that one's.
func (vm *VM) answers() error {
	if err := vm.Health(); err != nil {
		return err
	}
	flags, err := vm.do(http.MethodGet, "/flags", "", nil)
	if err != nil {
		return err
	}
	if want := "-storageDataPath=" + strconv.Quote(vm.cfg.Dir); !strings.Contains(string(flags), want) {
		return fmt.Errorf("another server has the address %s", vm.addr)
	}
	return nil
}
