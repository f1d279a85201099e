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
	"testing"

	"github.com/gofrs/flock"
)

// suite is the Debian that the machines are, and mirror where it comes from. Those of
// Ubuntu take its keyring, from its package ubuntu-keyring. The oldest that the
// package allows has systemd 245:
//
//	go test -tags systemdtest ./systemd -timeout 30m -run '^TestSystem' -suite focal -mirror http://archive.ubuntu.com/ubuntu
var (
	suite  = flag.String("suite", "bookworm", "the Debian to boot")
	mirror = flag.String("mirror", "http://deb.debian.org/debian", "the archive of the suite")
)

const packages = "systemd,systemd-sysv,dbus"

// debian returns a folder with a freshly bootstrapped Debian, to be copied. It is
// kept in the user's cache between runs, and made anew when it is not whole.
func debian(t *testing.T) string {
	t.Helper()
	dir, err := theDebian()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var theDebian = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	recipe := sha256.Sum256([]byte(packages + *mirror))
	dir := filepath.Join(cache, "belabox-metrics", fmt.Sprintf("%s-%x", *suite, recipe[:6]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	lock := flock.New(dir + ".lock")
	if err := lock.Lock(); err != nil {
		return "", err
	}
	defer lock.Unlock() //nolint:errcheck // the process may hold it until it ends
	if whole(dir) == nil {
		return dir, nil
	}
	// Renamed when it is complete: a run that was killed leaves nothing under the name.
	making := dir + ".new"
	if err := os.RemoveAll(making); err != nil {
		return "", err
	}
	cmd := exec.Command("debootstrap", "--variant=minbase", "--include="+packages, *suite, making, *mirror)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("debootstrap: %w\n%s", err, out)
	}
	if err := whole(making); err != nil {
		return "", fmt.Errorf("what debootstrap made: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Rename(making, dir)
})

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
