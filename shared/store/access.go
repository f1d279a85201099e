package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"belabox-metrics/shared/datafile"
)

// ExplainAccess adds, to an error that may come from missing rights, which user lacks
// which right on which file, and the command that gives it.
func ExplainAccess(path string, err error) error {
	if !errors.Is(err, ErrReadOnly) {
		if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			return err
		}
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	folder := filepath.Dir(path)
	if errors.Is(err, syscall.EROFS) || readOnly(folder) {
		if state := os.Getenv("STATE_DIRECTORY"); sandboxed(folder) {
			return fmt.Errorf("%w: the service may write only below %s: give %s to user %s and add ReadWritePaths=%s to section [Service] of both (systemctl edit belabox-collectord, and belabox-shipperd)",
				err, state, folder, userName(os.Getuid()), folder)
		}
		return fmt.Errorf("%w: the file system of %s is mounted read-only; after a disk error it stays read-only until it is checked: unmount it, run fsck, mount it again, or restart the device",
			err, folder)
	}
	for _, look := range []struct {
		path string
		mode uint32
		what string
	}{
		{folder, unix.W_OK | unix.X_OK, "write the directory"},
		{path, unix.R_OK | unix.W_OK, "read and write"},
		{path + "-wal", unix.R_OK | unix.W_OK, "read and write"},
		{path + "-shm", unix.R_OK | unix.W_OK, "read and write"},
		{path + ".open.lock", unix.R_OK | unix.W_OK, "read and write"},
		{path + ".migrate.lock", unix.R_OK | unix.W_OK, "read and write"},
	} {
		if errors.Is(unix.Access(look.path, look.mode), unix.EACCES) {
			return fmt.Errorf("%w: user %s may not %s %s (%s); %s",
				err, userName(os.Getuid()), look.what, look.path, ownership(look.path), giveAccess(path, look.path))
		}
	}
	return err
}

// Waits reports whether err, with which the database at path could not be opened, is worth waiting
// for, because its cause ends without a change of rights or configuration: the disk is full, or the
// file system is mounted read-only, as after an error of the disk.
func Waits(path string, err error) bool {
	folder := filepath.Dir(path)
	return err != nil && (errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || readOnly(folder) && !sandboxed(folder))
}

// readOnly reports whether a directory is on a file system that is mounted read-only.
func readOnly(folder string) bool { return errors.Is(unix.Access(folder, unix.W_OK), unix.EROFS) }

// sandboxed reports whether the unit of this service lets it write only elsewhere.
func sandboxed(folder string) bool {
	state := os.Getenv("STATE_DIRECTORY")
	return state != "" && !within(state, folder)
}

// giveAccess says how this user gets access to a file of the database at path, or to its directory.
func giveAccess(path, file string) string {
	folder, me := filepath.Dir(path), userName(os.Getuid())
	switch owner, _, err := datafile.Owner(path); {
	case err != nil || owner == 0:
		return fmt.Sprintf("set storage.path to a file in a directory of user %s; if %s is for the database alone, run as root: %s",
			me, folder, datafile.GiveFolder(folder, me))
	case int(owner) != os.Getuid():
		return fmt.Sprintf("run this as user %s, the owner of %s, or as root", datafile.UserName(owner), folder)
	case file == folder:
		return "run: chmod u+rwx " + datafile.Quote(folder)
	}
	return "run as root: " + datafile.GiveToOwner(path, file)
}

// within reports whether directory is state, which systemd made for the service, or below it.
func within(state, folder string) bool {
	rel, err := filepath.Rel(state, folder)
	return err == nil && filepath.IsLocal(rel)
}

// ownership describes owner, group and mode of a file.
func ownership(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "its owner cannot be seen"
	}
	uid, gid := datafile.OwnerOf(info)
	group := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf("owner %s, group %s, mode %04o", datafile.UserName(uid), group, info.Mode().Perm())
}

func userName(uid int) string { return datafile.UserName(uint32(uid)) }
