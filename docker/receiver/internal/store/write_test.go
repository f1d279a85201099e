package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"belabox-metrics/docker/receiver/internal/line"
)

// limitPages makes the disk full at the given number of pages above the present ones.
func limitPages(t *testing.T, s *Store, more int) {
	t.Helper()
	err := s.do(context.Background(), 1, func(w *writer) error {
		var pages int
		if err := w.conn.QueryRowContext(context.Background(), "PRAGMA page_count").Scan(&pages); err != nil {
			return err
		}
		return w.exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages+more))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A full disk refuses a write whole, says so, and the store works on as soon as there is room.
func TestWrite_Full(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	write(t, s, series("a", "d", 1, 10))
	limitPages(t, s, 3)
	big := []line.Line{series("new", "d", 1, 3), series("b", "d", 1, 5000)}
	for range 2 {
		if err := s.Write(context.Background(), big); !errors.Is(err, ErrFull) {
			t.Fatalf("got %v, want %v", err, ErrFull)
		}
		if got := readAll(t, s, query(t, everything)); len(got) != 1 || got.samples() != 10 {
			t.Fatalf("got %d series with %d samples after a refused write, want 1 and 10", len(got), got.samples())
		}
	}
	// A series whose first write was rolled back must not be believed to exist.
	write(t, s, series("new", "d", 1, 3))
	limitPages(t, s, 10_000)
	write(t, s, big...)
	if got := readAll(t, s, query(t, everything)); len(got) != 3 || got.samples() != 5013 {
		t.Errorf("got %d series with %d samples, want 3 and 5013", len(got), got.samples())
	}
}

// One write that does not fit must not take those with it that share its transaction.
func TestWrite_FullTakesNoOther(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	write(t, s, series("a", "d", 1, 1))
	limitPages(t, s, 3)

	// Hold the writer until all three wait, so that they are gathered into one transaction.
	var group []job
	for _, lines := range [][]line.Line{
		{series("small", "1", 1, 2)}, {series("big", "d", 1, 5000)}, {series("small", "2", 1, 2)},
	} {
		group = append(group, job{size: 1, apply: func(w *writer) error { return w.insert(lines) }, done: make(chan error, 1)})
	}
	outside := s.do(context.Background(), 1, func(w *writer) error {
		if err := w.exec("COMMIT"); err != nil {
			return err
		}
		w.transaction(group)
		return w.exec("BEGIN IMMEDIATE")
	})
	if outside != nil {
		t.Fatal(outside)
	}
	for i, wantFull := range []bool{false, true, false} {
		if err := <-group[i].done; errors.Is(err, ErrFull) != wantFull || !wantFull && err != nil {
			t.Errorf("write %d: got %v, want full: %v", i, err, wantFull)
		}
	}
	if got := readAll(t, s, query(t, everything)); len(got) != 3 || got.samples() != 5 {
		t.Errorf("got %d series with %d samples, want 3 and 5", len(got), got.samples())
	}
}

// Writes that wait while another is synced share one transaction, and so one sync.
func TestWrite_WaitingShareATransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, newPath(t))
		const waiting = 20
		open := make(chan struct{})
		go s.do(context.Background(), 1, func(*writer) error { <-open; return nil })
		synctest.Wait()
		results := make(chan error, waiting)
		for range waiting {
			go func() {
				s.jobs <- job{size: 1, done: results, apply: func(*writer) error {
					if n := len(results); n > 0 {
						return fmt.Errorf("%d others were answered before", n)
					}
					return nil
				}}
			}()
		}
		synctest.Wait() // all of them stand at the door
		close(open)
		for range waiting {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// The cache forgets everything when it is full; ids stay right.
func TestWrite_CacheBounded(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	labels := func(i int) line.Line {
		l := series("m"+strconv.Itoa(i), "d", float64(i), 1)
		l.Labels = append(l.Labels, line.Label{Name: "z", Value: strings.Repeat("x", line.MaxValueBytes)})
		l.Metric = l.Labels.String()
		return l
	}
	const count = 500
	var lines []line.Line
	for i := range count {
		lines = append(lines, labels(i))
	}
	// Nearly full: it overflows in the middle of the write.
	err := s.do(context.Background(), 1, func(w *writer) error { w.cacheBytes = maxCacheBytes - 1<<19; return nil })
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, lines...)
	var cached, bytes int
	err = s.do(context.Background(), 1, func(w *writer) error { cached, bytes = len(w.series), w.cacheBytes; return nil })
	if err != nil || cached == 0 || cached >= count || bytes > maxCacheBytes {
		t.Errorf("got %d cached series of %d bytes, %v", cached, bytes, err)
	}
	write(t, s, lines...)
	if got := readAll(t, s, query(t, everything)); len(got) != count || got.samples() != count {
		t.Errorf("got %d series with %d samples, want %d each", len(got), got.samples(), count)
	}
}

func TestWrite_ContextEnded(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	entered, open := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.do(context.Background(), 1, func(*writer) error { close(entered); <-open; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Write(ctx, []line.Line{series("a", "d", 1, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	close(open)
	wg.Wait()
	if got := len(readAll(t, s, query(t, everything))); got != 0 {
		t.Errorf("got %d series, want none", got)
	}
}

// SQLite's own checkpoints give way to readers; the writer's does not.
func TestCheckpoint_LongLog(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := newStore(t, path)
	const most = 1 << 20
	err := s.do(context.Background(), 1, func(w *writer) error {
		w.maxWAL = most
		return w.exec("PRAGMA wal_autocheckpoint = 0")
	})
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int64
	for i := range 10 {
		write(t, s, series("m"+strconv.Itoa(i), "d", 1, 10_000))
		// A second job begins when the first has been looked after.
		if err := s.do(context.Background(), 1, func(*writer) error { return nil }); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size())
	}
	if slices.Max(sizes) > most || slices.IsSorted(sizes) {
		t.Errorf("the write-ahead log had %d bytes, want at most %d and emptied at times", sizes, most)
	}
}

// A prune goes through a long series in steps and lets writes in between them.
func TestPrune_Steps(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	const count = 2*maxPruneRows + 100
	write(t, s, series("a", "d", 1, count), series("b", "d", 1, 5))
	done := make(chan error, 1)
	go func() {
		removed, err := s.Prune(context.Background(), t0+(count-50)*1000)
		if err == nil && removed != count-50+5 {
			err = fmt.Errorf("removed %d, want %d", removed, count-50+5)
		}
		done <- err
	}()
	late := series("c", "d", 1, 1)
	late.Timestamps[0] = t0 + count*1000
	write(t, s, late)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A series that was pruned away comes back as a new one.
	write(t, s, series("b", "d", 7, 2))
	got := readAll(t, s, query(t, `a`, `b`))
	if len(got) != 2 || got.samples() != 52 {
		t.Errorf("got %d series with %d samples, want 2 and 52", len(got), got.samples())
	}
	var id int64
	if err := s.read.QueryRow(`SELECT id FROM series WHERE name = 'b'`).Scan(&id); err != nil || id < 3 {
		t.Errorf("got id %d, %v; the old id must not come back", id, err)
	}
}
