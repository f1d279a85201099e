package testkit

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Bins are the paths of the project's programs.
type Bins struct {
	Collectord string
	Shipperd   string
	Receiver   string
}

// ArchVar is the environment variable with the processor for which Binaries builds,
// "arm64" or "arm7"; "" is that of the test. EmulatorVar has the emulator that runs the
// test itself, a program of qemu-user.
const (
	ArchVar     = "TEST_ARCH"
	EmulatorVar = "TEST_EMULATOR"
)

// emulators by what ArchVar has, with the architecture as the go command names it.
var emulators = map[string]struct {
	program string
	env     []string
}{
	"arm64": {"qemu-aarch64", []string{"GOARCH=arm64"}},
	"arm7":  {"qemu-arm", []string{"GOARCH=arm", "GOARM=7"}},
}

// Binaries builds the programs as "make build" does, once per test process, and
// returns their paths. With ArchVar each path is a script that runs the program in the
// emulator and has its PID.
func Binaries(t testing.TB) Bins {
	t.Helper()
	bins, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return bins
}

var binaries = sync.OnceValues(func() (Bins, error) {
	root, err := moduleRoot()
	if err != nil {
		return Bins{}, err
	}
	dir, err := buildDir(root)
	if err != nil {
		return Bins{}, err
	}
	arch := os.Getenv(ArchVar)
	emulator, known := emulators[arch]
	if arch != "" && !known {
		return Bins{}, fmt.Errorf("%s is %q: set it to arm64 or arm7", ArchVar, arch)
	}
	if arch == "" && os.Getenv(EmulatorVar) != "" { // then the go command builds for the processor of the test
		arch, emulator.program = runtime.GOARCH, os.Getenv(EmulatorVar)
	}
	dir = filepath.Join(dir, arch)
	if err := goBuild(root, dir, emulator.env, "./collectord", "./shipperd", "./docker/receiver"); err != nil {
		return Bins{}, err
	}
	if emulator.program != "" {
		if dir, err = emulate(dir, emulator.program, "collectord", "shipperd", "receiver"); err != nil {
			return Bins{}, err
		}
	}
	return Bins{
		Collectord: filepath.Join(dir, "collectord"),
		Shipperd:   filepath.Join(dir, "shipperd"),
		Receiver:   filepath.Join(dir, "receiver"),
	}, nil
})

// buildDir is where the programs of this checkout are kept between runs: the go
// command links again only what has changed, which saves each test process some
// seconds. A file that another process is running is replaced, never written to.
func buildDir(root string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(cache, "belabox-metrics", fmt.Sprintf("test-%x", sum[:6])), nil
}

func goBuild(root, dir string, env []string, pkgs ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// One at a time: the test processes of "go test ./..." ask at the same moment.
	unlock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "nethttpomithttp2", "-o", dir + string(filepath.Separator)}, pkgs...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// emulate writes a script for each program in dir that runs it in the emulator, and
// returns the folder of the scripts.
func emulate(dir, emulator string, names ...string) (string, error) {
	scripts := filepath.Join(dir, "emulated")
	if err := os.MkdirAll(scripts, 0o755); err != nil {
		return "", err
	}
	for _, name := range names {
		script := fmt.Sprintf("#!/bin/sh\nexec %s '%s' \"$@\"\n", emulator, filepath.Join(dir, name))
		if err := os.WriteFile(filepath.Join(scripts, name), []byte(script), 0o755); err != nil {
			return "", err
		}
	}
	return scripts, nil
}

// Self returns the command that starts the program of the test again, in the emulator
// that runs it.
func Self(t testing.TB) Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if emulator := os.Getenv(EmulatorVar); emulator != "" {
		return Command{Path: emulator, Args: []string{self}}
	}
	return Command{Path: self}
}
