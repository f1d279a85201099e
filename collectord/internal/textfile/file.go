package textfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/store"
)

const (
	maxFileBytes = 4 << 20
	maxFiles     = 256
	// All files together may have so much: it is in memory, as something larger.
	maxAllBytes   = 8 << 20
	maxAllSamples = 100_000
	// young is how old a change must be to be read at once: somebody may still be writing.
	young = time.Second
)

// version is what distinguishes one content of a file from the next one.
type version struct {
	mtime time.Time
	size  int64
	inode uint64
}

func versionOf(info fs.FileInfo) version {
	v := version{mtime: info.ModTime(), size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		v.inode = uint64(st.Ino) //nolint:unconvert // its type depends on the system
	}
	return v
}

// file is a *.prom file.
type file struct {
	name string // without the directory, as it is shown
	path string

	seen    version // that was read last
	waited  bool    // a change was too young in the tick before
	written time.Time
	fault   error // why the version seen is not used

	bytes   int // of the text that entries were read from
	entries []resolved
	series  int            // that are used
	samples []store.Sample // without a timestamp
	dated   []*resolved    // that wait, oldest first
	overlap faults         // lines that lost against others
	refused faults         // samples with a timestamp

	mtimeSeconds, failed, seriesCount *store.Series
}

// resolved is an entry with its series.
type resolved struct {
	store.Dated
	dated bool
	line  int
}

func (r *resolved) waits() bool { return r.dated && r.Fate == store.DatedWaiting }

// refresh reads the file if it has changed; changed = it has another content now, or none. A change
// that is a moment old is left for the next tick, once: what is written at each tick must be read,
// too. While the file is not complete, its earlier content stays.
func (f *file) refresh(at time.Time, r room) (entries []entry, changed bool, err error) {
	info, err := os.Lstat(f.path)
	if err != nil {
		return nil, false, err
	}
	v := versionOf(info)
	if v == f.seen {
		f.waited = false
		return nil, false, nil
	}
	if !info.Mode().IsRegular() { // not opened: that may have effects
		f.refuse(v, datafile.ErrNotRegular)
		return nil, true, nil
	}
	if age := at.Sub(v.mtime); age >= 0 && age < young && !f.waited {
		f.waited = true
		return nil, false, nil
	}
	f.waited = false
	text, v, err := f.read()
	switch {
	case errors.Is(err, errChanging):
		return nil, false, nil
	case err == nil && !complete(text):
		f.seen = v
		f.fault = &lineError{1 + bytes.Count(text, []byte("\n")), "no line break at the end: the file is not complete"}
		return nil, false, nil
	case err == nil && len(text) > r.bytes:
		err = fmt.Errorf("more than %d MiB in all files: this one is left out", maxAllBytes>>20)
	case err == nil:
		entries, err = parse(text, r)
	}
	if f.refuse(v, err); err == nil {
		f.bytes = len(text)
	}
	f.written = at.Add(-max(0, at.Sub(v.mtime)))
	return entries, true, nil
}

// refuse gives up the content: a part of a wrong file would be a half truth.
func (f *file) refuse(v version, err error) {
	f.seen, f.fault, f.entries, f.bytes = v, err, nil, 0
}

// errChanging: the file was written while it was read.
var errChanging = errors.New("the file is being written")

// read returns the content, and of what version it is.
func (f *file) read() (text []byte, v version, err error) {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, version{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, version{}, err
	}
	if v = versionOf(info); !info.Mode().IsRegular() {
		return nil, v, datafile.ErrNotRegular
	}
	if text, err = datafile.ReadFrom(file, maxFileBytes); err != nil {
		return nil, v, err
	}
	if info, err = file.Stat(); err == nil && versionOf(info) != v {
		err = errChanging
	}
	return text, v, err
}

// faults are lines that cost only themselves: the first of them, and how many there are.
type faults struct {
	first *lineError
	n     int
}

func (f *faults) add(line int, format string, args ...any) {
	if f.n++; f.n == 1 {
		f.first = &lineError{line, fmt.Sprintf(format, args...)}
	}
}

func (f *faults) err() error {
	switch f.n {
	case 0:
		return nil
	case 1:
		return f.first
	}
	return fmt.Errorf("%w; and %d more lines", f.first, f.n-1)
}
