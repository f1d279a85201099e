package proc

import (
	"errors"
	"fmt"
	"os"
)

// Reader reads one kernel file into a T again and again, without allocating
// once its buffers have grown. Not for concurrent use.
type Reader[T any] struct {
	file     *File
	parse    func([]byte, *T) error
	optional bool // kernels without the file are normal
	value    T
	text     []byte
}

// Read reads the file now. The result is valid until the next Read. Text that
// does not parse is a *ParseError that names the file, beside the result if the file has several
// values: the bad ones are Absent or NaN. A file that this kernel does not have is ErrNotSupported
// where the reader's constructor says so.
func (r *Reader[T]) Read() (*T, error) {
	b, err := r.file.Read()
	if err != nil {
		if r.optional {
			err = notSupported(err)
		}
		return nil, err
	}
	r.text, _ = wholeLines(b)
	return &r.value, inFile(r.file.path, r.parse(b, &r.value))
}

// Text returns the whole lines that the last Read has read, for who wants more of them than is in
// T. It is valid until the next Read.
func (r *Reader[T]) Text() []byte { return r.text }

// NewLines returns the reader of a file of which only the text is wanted. One that this kernel does
// not have is ErrNotSupported.
func NewLines(path string) *Reader[struct{}] {
	return &Reader[struct{}]{file: NewFile(path), parse: func([]byte, *struct{}) error { return nil }, optional: true}
}

// Close closes the file; a later Read opens it again.
func (r *Reader[T]) Close() error { return r.file.Close() }

// notSupported turns the errors of an absent or switched-off kernel feature
// into ErrNotSupported and leaves all others.
func notSupported(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return err
}

// parseUintFile reads a file that holds one number, as most of sysfs does.
func parseUintFile(b []byte, n *uint64) error {
	line, _ := NextLine(b)
	field, rest := NextField(line)
	v, err := ParseUint(field)
	if err == nil {
		if extra, _ := NextField(rest); len(extra) > 0 {
			err = ErrSyntax
		}
	}
	if err != nil {
		return parseError(0, line, err)
	}
	*n = v
	return nil
}
