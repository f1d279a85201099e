// Package proc reads kernel files under /proc and /sys, one Go file per kernel
// file. It promises raw, exact numbers or an error that names the file; it keeps
// no history and computes no rates. A reader keeps its file open and its buffer,
// so a steady-state read is one or two preads and no allocation.
package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// FS is where the kernel's trees are mounted. A containerised collector or a
// test points it at other directories.
type FS struct {
	Proc string // usually /proc
	Sys  string // usually /sys
	Root string // in front of the mount points of process 1; usually empty
}

// ProcPath returns the path of a file below the proc root.
func (fs FS) ProcPath(elem ...string) string {
	return filepath.Join(append([]string{fs.Proc}, elem...)...)
}

// SysPath returns the path of a file below the sys root.
func (fs FS) SysPath(elem ...string) string {
	return filepath.Join(append([]string{fs.Sys}, elem...)...)
}

// ErrNotSupported means that this kernel or board does not have the file at
// all: nothing to collect, and nothing wrong.
var ErrNotSupported = errors.New("not supported by this kernel")

// maxFileSize bounds what one kernel file may hold; the largest honest ones
// (/proc/stat of a machine with thousands of interrupts) stay far below.
const maxFileSize = 4 << 20

// File is a kernel file that is read again and again. It opens on the first
// read, stays open, and reopens after an error, because a device that went and
// came back has a new file behind the same path. Not for concurrent use.
type File struct {
	path   string
	single bool
	f      *os.File
	buf    []byte
}

// NewFile names a kernel file; nothing is opened yet.
func NewFile(path string) *File { return &File{path: path} }

// NewSingle names a file that the kernel prints as one record: every sysfs
// attribute, and those of /proc made with single_open (stat, meminfo, loadavg,
// uptime, pressure). A read that does not fill the buffer then has it all,
// which saves the second read that only finds the end of the file. Files with a record
// per line (net/dev, diskstats, mounts) come in pieces and need NewFile.
func NewSingle(path string) *File { return &File{path: path, single: true} }

// Path returns the path the file was made with.
func (f *File) Path() string { return f.path }

// Read returns the whole present content. The slice is valid until the next
// Read. The kernel makes the text anew for every read that starts at offset 0.
// A missing file is an error that wraps os.ErrNotExist.
func (f *File) Read() ([]byte, error) {
	if f.f == nil {
		file, err := open(f.path)
		if err != nil {
			return nil, err
		}
		f.f = file
	}
	if f.buf == nil {
		f.buf = make([]byte, 512)
	}
	n := 0
	for {
		m, err := pread(f.f, f.buf[n:], int64(n))
		if err != nil {
			_ = f.Close() // read-only: nothing to lose; the next Read opens anew
			return nil, err
		}
		n += m
		switch {
		case m == 0, f.single && n < len(f.buf):
			return f.buf[:n], nil
		case n < len(f.buf):
			// Another record may follow.
		case n >= maxFileSize:
			return nil, fmt.Errorf("read %s: more than %d bytes", f.path, maxFileSize)
		default:
			f.buf = append(f.buf, make([]byte, len(f.buf))...)
		}
	}
}

// Close closes the file; a later Read opens it again.
func (f *File) Close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}

// open opens a file for reading, outside of the runtime's poller. os.Open would
// register it there, and then every change of the mount table or of a thermal
// trip point would wake the process.
func open(path string) (*os.File, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case syscall.EINTR:
			continue
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
}

// pread reads once; 0 bytes mean the end of the file. os.File.ReadAt instead
// goes on reading until it has seen the end.
func pread(f *os.File, b []byte, offset int64) (int, error) {
	for {
		n, err := syscall.Pread(int(f.Fd()), b, offset)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
			continue
		}
		return 0, &os.PathError{Op: "read", Path: f.Name(), Err: err}
	}
}
