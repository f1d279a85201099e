package page

import (
	"context"
	"errors"
	"time"

	"belabox-metrics/shared/store"
)

// file is the page's own connection to the database. It is opened for the first request and closed
// a while after the last: an idle connection holds a megabyte.
type file struct {
	path string
	turn chan struct{} // one place; holding it guards the rest

	reader *store.Reader
	idle   *time.Timer
	closed bool
}

func newFile(path string) file { return file{path: path, turn: make(chan struct{}, 1)} }

// enter waits for the turn; false when ctx ended before.
func (f *file) enter(ctx context.Context) bool {
	select {
	case f.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *file) leave() { <-f.turn }

// open returns the connection. Callers must have the turn, and the connection is good for as long.
func (f *file) open(ctx context.Context) (*store.Reader, error) {
	if f.closed {
		return nil, errClosed
	}
	if f.idle != nil {
		f.idle.Stop()
	}
	if f.reader == nil {
		reader, err := store.OpenReader(ctx, f.path)
		if err != nil {
			return nil, err
		}
		f.reader = reader
	}
	f.idle = time.AfterFunc(idleLimit, f.rest)
	return f.reader, nil
}

var errClosed = errors.New("the daemon is stopping")

// rest closes the connection until the next request.
func (f *file) rest() {
	f.turn <- struct{}{}
	defer f.leave()
	_ = f.drop() // it only read
}

func (f *file) drop() (err error) {
	if f.reader != nil {
		err = f.reader.Close()
		f.reader = nil
	}
	return err
}

// close closes the connection for good, after the request under way.
func (f *file) close() error {
	f.turn <- struct{}{}
	defer f.leave()
	f.closed = true
	if f.idle != nil {
		f.idle.Stop()
	}
	return f.drop()
}
