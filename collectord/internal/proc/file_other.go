//go:build !unix

package proc

import (
	"io"
	"os"
)

func open(path string) (*os.File, error) { return os.Open(path) }

// pread reads once; 0 bytes mean the end of the file.
func pread(f *os.File, b []byte, offset int64) (int, error) {
	n, err := f.ReadAt(b, offset)
	if err == io.EOF {
		err = nil
	}
	return n, err
}
