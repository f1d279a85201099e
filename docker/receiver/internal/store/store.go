// Package store keeps samples in one SQLite file.
//
// It promises that what Write has answered is on the disk, also after a power cut; that a Write is stored whole or not
// at all; that a series has one value for a timestamp, the one written last; and that no other program's file is
// touched. One process at a time may have a file open. It does not promise that a Select sees one moment: samples that
// are written while it runs may or may not be in it.
//
// Writes that arrive together share one transaction and so one sync. Reads never hold the file for longer than one
// piece takes to read, however slowly the reader takes the pieces, because a long read keeps SQLite from emptying its
// write-ahead log.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/gofrs/flock"
)

// ErrClosed is returned by a Write or Prune that came after Close.
var ErrClosed = errors.New("store is closed")

// ErrFull means that the disk, or the file at its largest size, has no room. Nothing of the Write was stored.
var ErrFull = errors.New("store is full")

// Store is an open file. All methods may be called from many goroutines.
type Store struct {
	lock   *flock.Flock
	db     *sql.DB // for writing: one connection, which the writer holds
	writer *writer
	read   *sql.DB // for reading

	jobs   chan job
	stop   chan struct{}  // closed by Close
	served sync.WaitGroup // the goroutine of serve
	finish func() error   // the work of Close, done once
}

// Open opens the file at path and creates it where there is none; its folder must exist. A file that another program
// made, or a newer receiver, is refused and left as it is, and so is one that another process has open.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open store %q: %w", path, err)
	}
	return s, nil
}

func open(path string) (_ *Store, err error) {
	path, err = resolve(path)
	if err != nil {
		return nil, err
	}
	s := &Store{jobs: make(chan job), stop: make(chan struct{})}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.lock, err = acquire(path + ".lock"); err != nil {
		return nil, err
	}
	if err := inspect(path); err != nil {
		return nil, err
	}
	if s.db, err = sql.Open("sqlite", dsn(path, writePragmas)); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(1)
	if err := prepareSchema(s.db); err != nil {
		return nil, err
	}
	if s.read, err = sql.Open("sqlite", dsn(path, readPragmas)); err != nil {
		return nil, err
	}
	s.read.SetMaxOpenConns(maxReaders)
	s.read.SetMaxIdleConns(maxReaders)

	if s.writer, err = newWriter(s.db, path+"-wal"); err != nil {
		return nil, err
	}
	s.served.Go(func() { s.serve(s.writer) })
	s.finish = sync.OnceValue(func() error {
		close(s.stop)
		s.served.Wait()
		return s.release()
	})
	return s, nil
}

// Close finishes the transaction under way, empties the write-ahead log into the file and lets go of it. It waits for
// nothing else: a Select that still runs gets an error.
func (s *Store) Close() error {
	if err := s.finish(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// release closes what open has opened so far. Readers go first: they would hold up the last checkpoint.
func (s *Store) release() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// do runs apply in a transaction of the writer and returns when that is committed. Once apply has begun, ctx no longer
// counts: the transaction may hold the work of others.
func (s *Store) do(ctx context.Context, size int, apply func(*writer) error) error {
	j := job{size: size, apply: apply, done: make(chan error, 1)}
	select {
	case s.jobs <- j:
		return <-j.done
	case <-s.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
