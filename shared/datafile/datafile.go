// Package datafile opens files that somebody else may have put there: those in the directory of the
// database, which belongs to the service's user while root visits, and those that the configuration
// names.
//
// It promises that nothing but a regular file is opened, that opening never waits, and that no more
// is read than was asked for. In the directory of the database it also follows no symbolic link in
// the last component of a path and opens no file of a third user.
package datafile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

var (
	// ErrNotRegular: a link, a directory, a pipe or a device stands under the name of a file.
	ErrNotRegular = errors.New("not a regular file")
	// ErrForeign: the file belongs to neither this user, nor root, nor the owner of its directory.
	ErrForeign = errors.New("file of another user")
	// ErrTooLarge: the file is larger than what belongs there.
	ErrTooLarge = errors.New("file too large")
)

// Open is os.OpenFile for a file in the directory of the database. Truncate the file afterwards and
// not by flag: what is opened is known only then.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	// Looked at first, because opening a device or a pipe can have effects.
	if err := Check(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat() // it may have been exchanged since
	if err == nil {
		err = check(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Check reports whether Open would open what stands at path, without opening it: for files that
// SQLite opens, or that are only looked at.
func Check(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return check(path, info)
}

func check(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: path, Err: notRegular(info.Mode())}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	owner, _ := OwnerOf(folder)
	others := owner != 0 || folder.Mode().Perm()&0o022 != 0 // may write to the directory
	switch me := uint32(os.Geteuid()); {
	case me == 0 && others && HasSecondName(info): // any file of root can have a second name here
		err = fmt.Errorf("%w: it has a second name (hard link); put a copy in its place", ErrForeign)
	case st.Uid != me && st.Uid != 0 && st.Uid != owner:
		err = fmt.Errorf("%w: it belongs to %s and its directory to %s; run as root: %s",
			ErrForeign, UserName(st.Uid), UserName(owner), GiveToOwner(path, path))
	default:
		return nil
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

func notRegular(mode fs.FileMode) error {
	what := "a device or socket"
	switch mode.Type() {
	case fs.ModeSymlink:
		what = "a symbolic link"
	case fs.ModeDir:
		what = "a directory"
	case fs.ModeNamedPipe:
		what = "a named pipe"
	}
	return fmt.Errorf("%w: it is %s; remove it or move it away", ErrNotRegular, what)
}

// Read returns the content of a file in the directory of the database, of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadFrom(f, limit)
}

// ReadFrom returns what is left of a file, at most limit bytes.
func ReadFrom(f *os.File, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)}
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

// OpenNamed opens, for reading, a file that the configuration names. Links are followed: the
// configuration is the administrator's.
func OpenNamed(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: notRegular(info.Mode())}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ReadNamed returns the content of a file that the configuration names, of at most limit bytes.
func ReadNamed(path string, limit int64) ([]byte, error) {
	f, err := OpenNamed(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadFrom(f, limit)
}
