package datafile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// OwnerOf returns the owner of a file.
func OwnerOf(info fs.FileInfo) (uid, gid uint32) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid, st.Gid
	}
	return 0, 0
}

// Owner returns who owns the data directory: the directory of path, or the nearest one above it
// that exists. A directory of root on a way that another user can change, by a link or a directory
// of theirs, counts as theirs.
func Owner(path string) (uid, gid uint32, err error) {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil {
		return 0, 0, err
	}
	if uid, gid = OwnerOf(info); uid != 0 {
		return uid, gid, nil
	}
	return ownerOnWay(dir)
}

// ownerOnWay returns the owner of the last link or directory on the way to dir, links of links
// among them, that is not root's; 0 if all are.
func ownerOnWay(dir string) (uid, gid uint32, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, 0, err
	}
	at, rest := "/", strings.Split(dir, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, name) // ".." of a link's text leads up from where the link is
		info, err := os.Lstat(next)
		if err != nil {
			return 0, 0, err
		}
		if other, group := OwnerOf(info); other != 0 {
			uid, gid = other, group
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err == nil && links > mostLinks {
			err = &fs.PathError{Op: "readlink", Path: dir, Err: syscall.ELOOP}
		}
		if err != nil {
			return 0, 0, err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return uid, gid, nil
}

// mostLinks is how many links the kernel follows on one way.
const mostLinks = 40

// UserOf returns who works on the database at path: the owner of its directory, or, where that is
// root and lets others write, the owner of the database.
func UserOf(path string) (uid, gid uint32, err error) {
	if uid, gid, err = Owner(path); err != nil || uid != 0 {
		return uid, gid, err
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil || folder.Mode().Perm()&0o022 == 0 {
		return uid, gid, nil
	}
	if info, err := os.Lstat(path); err == nil {
		uid, gid = OwnerOf(info)
	}
	return uid, gid, nil
}

// UserName returns the name of a user, or the number where it has none.
func UserName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// The commands below are advice for root. They stay harmless in a directory whose owner plants
// links.

// GiveToOwner is the command that gives files to whoever works on the database at path. It gives
// away no link, nor a file that has a second name, which may be root's in another directory.
func GiveToOwner(path string, files ...string) string {
	uid, gid, _ := UserOf(path)
	var names strings.Builder
	for _, file := range files {
		names.WriteString(" " + Quote(file))
	}
	return fmt.Sprintf("find%s -maxdepth 0 -type f -links 1 -exec chown -h %d:%d {} +", &names, uid, gid)
}

// GiveFolder is the command that gives a directory and all in it to a user, in the same way.
func GiveFolder(folder, name string) string {
	return fmt.Sprintf(`find %s -xdev \( -type d -o -type f -links 1 \) -exec chown -h %s {} +`, Quote(folder), Quote(name))
}

// HasSecondName reports whether a file has more than one name.
func HasSecondName(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

// AsOwner makes a command for root one that runs with the rights of the owner of the directory of
// path: chmod, for one, follows links.
func AsOwner(path, command string) string {
	uid, gid, err := Owner(path)
	switch name := UserName(uid); {
	case err != nil || uid == 0:
		return command
	case name == strconv.FormatUint(uint64(uid), 10):
		return fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups -- %s", uid, gid, command)
	default:
		return "runuser -u " + name + " -- " + command
	}
}

// Quote makes a path one word of a shell command.
func Quote(path string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+:,@%=", r)
	}
	if path != "" && !strings.ContainsFunc(path, func(r rune) bool { return !plain(r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
