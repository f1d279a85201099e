//go:build systemdtest

package systemd

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/gofrs/flock"
)

// suite is the Debian that the machines of TestSystem are, and mirror where it comes from:
//
//	go test -tags systemdtest ./systemd -timeout 30m -run '^TestSystem' -suite trixie
var (
	suite  = flag.String("suite", "bookworm", "the Debian to boot")
	mirror = flag.String("mirror", "http://deb.debian.org/debian", "the archive of the suite")
)

const packages = "systemd,systemd-sysv,dbus"

// theDebian is that of the flags.
var theDebian = sync.OnceValues(func() (string, error) { return distribution{suite: *suite, mirror: *mirror}.bootstrapped() })

// distribution is what a machine can be.
type distribution struct {
	suite, mirror string
	ubuntu        bool // the script and the keys are those of Ubuntu, whatever the name of the suite
}

// bootstrapped returns a folder with a freshly bootstrapped system, to be copied. It is kept in the
// user's cache between runs, and made anew when it is not whole.
func (d distribution) bootstrapped() (string, error) {
	recipe := sha256.Sum256([]byte(packages + d.mirror))
	return inCache(fmt.Sprintf("%s-%x", d.suite, recipe[:6]), whole, func(making string) error {
		// What debootstrap mounts there ends with it, also when it is killed.
		args := []string{"--mount", "debootstrap", "--variant=minbase", "--include=" + packages}
		if d.ubuntu {
			keyring, err := ubuntuKeyring()
			if err != nil {
				return err
			}
			args = append(args, "--keyring="+keyring, d.suite, making, d.mirror, "gutsy")
		} else {
			args = append(args, d.suite, making, d.mirror)
		}
		cmd := exec.Command("unshare", args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("debootstrap %s: %w\n%s", d.suite, err, out)
		}
		return nil
	})
}

// inCache returns the path of name in the user's cache. What is there and fails the check is made
// again, by one process at a time. It gets its name when it is complete: a run that was killed
// leaves nothing under it.
func inCache(name string, check, build func(path string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "belabox-metrics", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	lock := flock.New(path + ".lock")
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer lock.Unlock() //nolint:errcheck // the process may hold it until it ends
	if check(path) == nil {
		return path, nil
	}
	making := path + ".new"
	if err := os.RemoveAll(making); err != nil {
		return "", err
	}
	if err := build(making); err != nil {
		return "", err
	}
	if err := check(making); err != nil {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.RemoveAll(path); err != nil {
		return "", err
	}
	return path, os.Rename(making, path)
}

// holds returns the check that a path has a file of that name.
func holds(name string) func(path string) error {
	return func(path string) error {
		_, err := os.Stat(filepath.Join(path, name))
		return err
	}
}

// whole checks that every package is configured and every file of it is as it came.
func whole(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "lib/systemd/systemd")); err != nil {
		return err
	}
	for _, check := range []string{"--audit", "--verify"} {
		out, err := exec.Command("dpkg", "--root="+dir, check).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "" {
			return fmt.Errorf("dpkg %s of %s: %v\n%s", check, dir, err, out)
		}
	}
	return nil
}
