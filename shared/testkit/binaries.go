package testkit

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path"
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
	paths := buildAll(t, "./collectord", "./shipperd", "./docker/receiver")
	return Bins{Collectord: paths[0], Shipperd: paths[1], Receiver: paths[2]}
}

// Binary builds one program, "./collectord", once per test process, and returns
// its path.
func Binary(t testing.TB, pkg string) string {
	t.Helper()
	return buildAll(t, pkg)[0]
}

var (
	buildsMu sync.Mutex
	builds   = map[string]func() error{} // by the packages
)

func buildAll(t testing.TB, pkgs ...string) []string {
	t.Helper()
	root := ModuleRoot(t)
	dir, err := buildDir(root)
	if err != nil {
		t.Fatal(err)
	}
	buildsMu.Lock()
	key := strings.Join(pkgs, " ")
	build := builds[key]
	if build == nil {
		build = sync.OnceValue(func() error { return goBuild(root, dir, pkgs...) })
		builds[key] = build
	}
	buildsMu.Unlock()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	paths := make([]string, len(pkgs))
	for i, pkg := range pkgs {
		paths[i] = filepath.Join(dir, path.Base(pkg))
	}
	return paths
}

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
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", dir + string(filepath.Separator)}, pkgs...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
