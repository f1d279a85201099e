package page

import (
	"context"
	"errors"
	"sync"
	"time"

	"belabox-metrics/shared/store"
)

// file is the page's own connection to the database. It is opened for the first
// question and closed a while after the last: an idle connection holds a megabyte.
type file struct {
	path string
	turn chan struct{} // whoever holds it may ask

	mu     sync.Mutex // guards the rest
	reader *store.Reader
	idle   *time.Timer
	closed bool
}

func newFile(path string) file { return file{path: path, turn: make(chan struct{}, 1)} }

// enter waits for the turn; false when it did not come in time.
func (f *file) enter(ctx context.Context) bool {
	select {
	case f.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *file) leave() { <-f.turn }

// open returns the connection, for as long as the turn lasts.
func (f *file) open(ctx context.Context) (*store.Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
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

// rest closes the connection until the next question.
func (f *file) rest() {
	f.turn <- struct{}{} // nobody asks
	defer f.leave()
	_ = f.drop() // it only read
}

func (f *file) drop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reader == nil {
		return nil
	}
	err := f.reader.Close()
	f.reader = nil
	return err
}

// close closes it for good, after the question under way.
func (f *file) close() error {
	f.turn <- struct{}{}
	defer f.leave()
	f.mu.Lock()
	f.closed = true
	if f.idle != nil {
		f.idle.Stop()
	}
	f.mu.Unlock()
	return f.drop()
}
