package tokens

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"belabox-metrics/shared/secret"
)

const (
	// maxFileBytes has room for some 200,000 devices.
	maxFileBytes = 32 << 20
	// lookEvery is how often the file is looked at, at most.
	lookEvery = time.Second
)

// File is a Set that follows its file. All methods may be called from many goroutines.
type File struct {
	path string
	log  *slog.Logger
	now  func() time.Time

	mu     sync.Mutex
	set    *Set
	stamp  stamp
	looked time.Time
	err    error // why the file of now is not in use
}

// stamp tells whether a file is still the one that was read. The device and inode are in sys: a file that was replaced
// by another of the same size within the clock's grain differs in these.
type stamp struct {
	modified time.Time
	size     int64
	mode     fs.FileMode
	sys      string
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size(), info.Mode(), inode(info)}, nil
}

// Open reads the file. That it cannot be used is an error here; later on it is a line in the log.
func Open(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log, now: time.Now}
	if f.read(); f.err != nil {
		return nil, f.err
	}
	f.looked = f.now()
	return f, nil
}

// Devices is that of the Set.
func (f *File) Devices(token string) []string { return f.current().Devices(token) }

// Len is that of the Set.
func (f *File) Len() int { return f.current().Len() }

// Err says why the file as it is now is not in use, nil if it is.
func (f *File) Err() error {
	f.current()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// current looks at the file, if that was long enough ago.
func (f *File) current() *Set {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		f.reload()
	}
	return f.set
}

func (f *File) reload() {
	s, err := stampOf(f.path)
	if err == nil && s == f.stamp {
		return
	}
	had := f.err
	f.read()
	switch {
	case f.err == nil:
		f.log.Info("tokens file read again", "tokens", f.set.Len())
	case had == nil || had.Error() != f.err.Error():
		f.log.Error("tokens file cannot be used; the tokens stay as they were", "err", f.err)
	}
}

// read takes the file, or notes why not.
func (f *File) read() {
	// Taken first: a change while reading shows at the next look.
	s, err := stampOf(f.path)
	f.stamp = s
	var text string
	if err == nil {
		text, err = secret.Read(f.path, maxFileBytes, secret.Group)
	}
	var set *Set
	if err == nil {
		if set, err = Parse(text); err != nil {
			err = fmt.Errorf("%s: %w", f.path, err)
		}
	}
	if f.err = err; err != nil {
		f.err = fmt.Errorf("read tokens: %w", err)
		return
	}
	f.set = set
}
