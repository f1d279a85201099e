package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/human"
)

func (d *doctor) configuration(context.Context) Check {
	c := Check{Name: "configuration", Status: OK, Detail: cmp.Or(d.File, "the defaults, without a file") + ", free of contradictions"}
	cfg := d.Config
	switch {
	case config.ResolveDeviceID(cfg, os.ReadFile, os.Hostname) == "":
		c.Status, c.Detail = Fail, "this machine has neither an id nor a name: nothing can be sent"
		c.Fix = "set device.id"
	case !cfg.Remote.Enabled:
		c.Status, c.Detail = Warn, "remote.enabled is false: nothing is shipped, samples stay in the database"
		c.Fix = "set remote.enabled: true and restart shipperd"
	}
	return c
}

func (d *doctor) folder(context.Context) Check {
	dir := filepath.Dir(d.Config.Storage.Path)
	c := Check{Name: "folder", Status: OK, Detail: dir}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Status, c.Detail = Warn, dir+" does not exist"
		c.Fix = "start collectord, which makes it if it may, or set storage.path"
	case err != nil:
		c.Status, c.Detail, c.Fix = Fail, err.Error(), "let this user enter the folder, or run this as the user of the daemons"
	case !info.IsDir():
		c.Status, c.Detail, c.Fix = Fail, dir+" is no folder", "set storage.path to a file in a folder"
	case info.Mode().Perm()&0o002 != 0:
		c.Status, c.Detail = Fail, fmt.Sprintf("%s has mode %04o: anybody can replace the database", dir, info.Mode().Perm())
		c.Fix = "run: chmod o-w " + dir
	default:
		c = d.writable(c, dir)
	}
	return c
}

// writable is the end of folder: who reads only need not be able to write.
func (d *doctor) writable(c Check, dir string) Check {
	switch err := mayWrite(dir); {
	case errors.Is(err, syscall.EROFS):
		c.Status, c.Detail, c.Fix = Fail, dir+" is on a read-only file system", "mount it writable: mount -o remount,rw; the kernel's log may say why it is not"
	case err != nil && os.Getuid() != 0:
		c.Status, c.Detail = Unknown, fmt.Sprintf("%s cannot be written by this user (%d); whether the daemons' user can was not tried", dir, os.Getuid())
	case err != nil:
		c.Status, c.Detail, c.Fix = Fail, fmt.Sprintf("%s cannot be written: %v", dir, err), "make the folder writable, or set storage.path"
	}
	return c
}

// files looks at who may read and write the database and what stands beside it.
func (d *doctor) files(context.Context) Check {
	path := d.Config.Storage.Path
	c := Check{Name: "files", Status: OK}
	info, err := os.Stat(path)
	if err != nil {
		c.Status, c.Detail = Unknown, "there is no "+path
		return c
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		c.Status, c.Detail = Warn, fmt.Sprintf("%s has mode %04o: others than its owner can change it", path, mode)
		c.Fix = "run: chmod 640 " + path
		return c
	}
	uid, gid := owner(info)
	var foreign []string
	for _, suffix := range []string{"-wal", "-shm", ".collectord.lock", ".shipperd.lock", ".migrate.lock", ".open.lock", ".checkpoint.lock", ".budget.lock"} {
		beside, err := os.Stat(path + suffix)
		if err != nil {
			continue
		}
		if other, _ := owner(beside); other != uid && uid != 0 {
			foreign = append(foreign, filepath.Base(path)+suffix)
		}
	}
	if len(foreign) > 0 {
		c.Status = Fail
		c.Detail = fmt.Sprintf("%s: not owned by user %d, who owns the database, so that the daemons cannot open them", strings.Join(foreign, ", "), uid)
		c.Fix = fmt.Sprintf("run: chown %d:%d %s* (shipperd -once and the daemons must not be run as root)", uid, gid, path)
		return c
	}
	c.Detail = fmt.Sprintf("%s, mode %04o, user %d", path, info.Mode().Perm(), uid)
	return c
}

// almostFull is what the file system must have left for the daemons to work.
const almostFull = 16 << 20

func (d *doctor) disk(context.Context) Check {
	path := d.Config.Storage.Path
	c := Check{Name: "disk space", Status: OK}
	free, err := freeBytes(filepath.Dir(path))
	if err != nil {
		c.Status, c.Detail = Unknown, fmt.Sprintf("%s: %v", filepath.Dir(path), err)
		return c
	}
	used := store.FileSize(path) + store.WALSize(path)
	budget := d.Config.Storage.MaxSizeMB << 20
	c.Detail = fmt.Sprintf("%s free; the database has %s of storage.max_size_mb %s", human.Bytes(free), human.Bytes(used), human.Bytes(budget))
	switch {
	case free < almostFull:
		c.Status, c.Fix = Fail, "make room: ticks that cannot be stored are lost"
	case free < budget-used:
		c.Status = Warn
		c.Fix = "make room or lower storage.max_size_mb: the disk is full before the budget is reached, and then ticks are lost instead of the oldest rows"
	}
	return c
}
