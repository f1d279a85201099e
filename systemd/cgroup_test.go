//go:build systemdtest

package systemd

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/testkit"
)

// group is a control group (version 2) that a test made.
type group struct {
	path string
	name string // below the mount point
}

// newGroup makes one below that of this process.
func newGroup(name string) (group, error) {
	mount, err := cgroup2()
	if err != nil {
		return group{}, err
	}
	mine, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return group{}, err
	}
	own := "/"
	for line := range strings.Lines(string(mine)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			own = path
		}
	}
	g := group{name: filepath.Join(own, name)}
	g.path = filepath.Join(mount, g.name)
	return g, os.Mkdir(g.path, 0o755)
}

// cgroup2 finds where the hierarchy is mounted: at /sys/fs/cgroup, or below it where
// the controllers are in hierarchies of version 1.
func cgroup2() (string, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1], nil
		}
	}
	return "", errors.New("no cgroup2 file system is mounted: the machines need one")
}

// remove kills what is left in the group and removes it, also from the hierarchy
// of systemd's own that nspawn keeps in step on a host with version 1.
func (g group) remove() error {
	_ = os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0) // newer kernels; nspawn is dead in any case
	for deadline := time.Now().Add(testkit.WaitLimit); ; time.Sleep(10 * time.Millisecond) {
		// Busy until the kernel is done with the last process.
		err := errors.Join(removeTree(g.path), removeTree(filepath.Join("/sys/fs/cgroup/systemd", g.name)))
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// removeTree removes control groups, the inner ones first.
func removeTree(root string) error {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what went away meanwhile is as it should be
	})
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
