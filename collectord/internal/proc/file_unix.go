//go:build unix

package proc

import (
	"os"
	"syscall"
)

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
