package testkit

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// Binaries builds the programs as "make build" does, once per test process, and
// returns their paths.
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
	err = goBuild(root, dir, "./collectord", "./shipperd", "./docker/receiver")
	return Bins{
		Collectord: filepath.Join(dir, "collectord"),
		Shipperd:   filepath.Join(dir, "shipperd"),
		Receiver:   filepath.Join(dir, "receiver"),
	}, err
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

func goBuild(root, dir string, pkgs ...string) error {
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
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
