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
	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
)

func (d *doctor) configuration(context.Context) Check {
	switch {
	case config.ResolveDeviceID(d.Config, os.ReadFile, os.Hostname) == "":
		return fail("this machine has neither an id nor a host name; nothing can be sent", "set device.id")
	case !d.Config.Remote.Enabled:
		return active(health.UploadsOff)
	}
	return ok("valid: " + cmp.Or(d.File, "the defaults (no file)"))
}

func (d *doctor) directory(context.Context) Check {
	dir := filepath.Dir(d.Config.Storage.Path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warn(dir+" does not exist", "start collectord, which creates it if it may, or set storage.path")
	case err != nil:
		return fail(err.Error(), "give this user access to the directory, or run this as the user of the daemons")
	case !info.IsDir():
		return fail(dir+" is not a directory", "set storage.path to a file in a directory")
	case info.Mode().Perm()&0o002 != 0:
		return fail(fmt.Sprintf("%s has mode %04o: everybody can replace the database", dir, info.Mode().Perm()), "run: "+datafile.AsOwner(d.Config.Storage.Path, "chmod o-w "+datafile.Quote(dir)))
	}
	switch err := cmp.Or(mayWrite(dir), readOnly(d.Config.Storage.Path+".collectord.lock")); {
	case errors.Is(err, syscall.EROFS):
		return fail(dir+" is on a read-only file system", health.CauseDisk.Remedy+" If it is mounted so on purpose: mount -o remount,rw")
	case err != nil && os.Getuid() != 0: // reading is enough for this program
		return unknown(fmt.Sprintf("%s is not writable for this user (%d); not checked for the user of the daemons", dir, os.Getuid()))
	case err != nil:
		return fail(fmt.Sprintf("%s is not writable: %v", dir, err), "make the directory writable, or set storage.path")
	}
	return ok(dir)
}

// files checks who may read and write the database and the files beside it.
func (d *doctor) files(context.Context) Check {
	path := d.Config.Storage.Path
	info, err := os.Lstat(path)
	if err != nil {
		return unknown("there is no " + path)
	}
	uid, _, err := datafile.UserOf(path)
	if err != nil {
		return unknown(err.Error())
	}
	var foreign []string
	for _, suffix := range []string{
		"", "-wal", "-shm", "-journal", ".collectord.lock", ".shipperd.lock", ".migrate.lock", ".open.lock", ".checkpoint.lock", ".budget.lock", ".salvage",
	} {
		beside, err := os.Lstat(path + suffix)
		if err != nil {
			continue
		}
		err = datafile.Check(path + suffix)
		other, _ := datafile.OwnerOf(beside)
		if other != uid && uid != 0 && datafile.HasSecondName(beside) {
			err = fmt.Errorf("%s%s: %w: it is a second name (hard link) of a file of %s", path, suffix, datafile.ErrNotRegular, datafile.UserName(other))
		}
		if errors.Is(err, datafile.ErrNotRegular) {
			return fail(err.Error(), "stop both daemons and run: "+datafile.AsOwner(path, "mv "+datafile.Quote(path+suffix)+" "+datafile.Quote(path+suffix+".away")))
		}
		if other != uid && uid != 0 || err != nil {
			foreign = append(foreign, path+suffix)
		}
	}
	if len(foreign) > 0 {
		return fail(fmt.Sprintf("%s: owner is not user %d, who works on the database; the daemons cannot open them", strings.Join(foreign, ", "), uid),
			"run as root: "+datafile.GiveToOwner(path, foreign...))
	}
	mode := info.Mode().Perm()
	if mode&0o022 != 0 {
		return warn(fmt.Sprintf("%s has mode %04o: others than its owner can change it", path, mode), "run: "+datafile.AsOwner(path, "chmod 640 "+datafile.Quote(path)))
	}
	return ok(fmt.Sprintf("%s, mode %04o, user %d", path, mode, uid))
}

// almostFull is what the daemons need on the file system.
const almostFull = 16 << 20

func (d *doctor) disk(context.Context) Check {
	path := d.Config.Storage.Path
	free, err := freeBytes(filepath.Dir(path))
	if err != nil {
		return unknown(fmt.Sprintf("%s: %v", filepath.Dir(path), err))
	}
	used := store.FileSize(path) + store.WALSize(path)
	budget := d.Config.Storage.MaxSizeMB << 20
	detail := fmt.Sprintf("%s free; the database has %s of storage.max_size_mb %s", human.Bytes(free), human.Bytes(used), human.Bytes(budget))
	switch {
	case free < almostFull:
		return fail(detail, "free disk space: samples that cannot be stored are lost")
	case free < budget-used:
		return warn(detail, "free disk space or lower storage.max_size_mb: the disk fills up before the database reaches its limit, and new samples are lost instead of the oldest")
	}
	return ok(detail)
}
