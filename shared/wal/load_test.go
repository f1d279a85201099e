package wal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

var loadMB = flag.Int64("wal.mb", 64, "megabytes that TestWAL_StaysBelowItsLimit brings through the WAL")

const jobVar = "BELABOX_WAL_TEST_READ"

func TestMain(m *testing.M) {
	if path := os.Getenv(jobVar); path != "" {
		if err := readSlowly(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// readSlowly is a shipperd on a slow link: it takes pending rows, thinks about them
// for a while as a request does, and marks them. It ends with its standard input.
func readSlowly(path string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	ob, err := store.OpenOutbox(ctx, store.Options{Path: path, Daemon: "shipperd"})
	if err != nil {
		return err
	}
	fmt.Println("reading")
	for n := 0; ctx.Err() == nil; n++ {
		rows, err := ob.Pending(ctx, 0, 20_000, nil)
		if err != nil {
			return err
		}
		keys := make(store.KeySet, len(rows))
		for i, r := range rows {
			keys[i] = r.Key
		}
		select { // the request
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
		if len(keys) == 0 {
			continue
		}
		c := &store.Chunk{BatchID: "slow", Index: n, Keys: keys, Contiguous: true, Created: time.Now()}
		if err := ob.RecordSending(context.Background(), c); err != nil {
			return err
		}
		if err := ob.MarkAllUploaded(context.Background(), c); err != nil {
			return err
		}
		if err := ob.MarkVerified(context.Background(), c); err != nil {
			return err
		}
		fmt.Println("shipped", len(keys))
	}
	return ob.Close(context.Background())
}

// TestWAL_StaysBelowItsLimit inserts as fast as it can, with collectord's checkpointer
// beside it and a slow reader in another process. The WAL stays below its limit all the time,
// ends empty, and each checkpoint reports what it reclaimed. The limit is a quarter of -wal.mb,
// 64 MB at most: -wal.mb=256 tests that of the default configuration in half a minute.
func TestWAL_StaysBelowItsLimit(t *testing.T) {
	t.Parallel()
	total := *loadMB << 20
	if testkit.Race {
		total /= 8
	}
	bound := min(64<<20, total/4) // stricter than 64 MB for the same batches
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	reader := startReader(t, path)
	k := New(Config{Path: path, Interval: time.Hour, Size: bound, Owner: true}, in.Checkpoint, slog.New(slog.DiscardHandler))
	k.headroomWait = testkit.WaitLimit // the bound holds for readers that end in time, whatever else this machine does
	var reclaimed, checkpoints, through atomic.Int64
	k.Done = func(r store.CheckpointResult) {
		reclaimed.Add(r.WALBefore - r.WALAfter)
		checkpoints.Add(1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	running := make(chan error, 1)
	go func() { running <- k.Run(ctx) }()

	series := make([]*store.Series, 500)
	for i := range series {
		series[i] = store.NewSeries("device", "m", store.Number, store.Tag{Name: "i", Value: fmt.Sprint(i)})
	}
	samples := make([]store.Sample, len(series))
	var largest, last int64
	rows, start := 0, time.Now()
	for tick := int64(0); through.Load() < total; tick++ {
		for i := range samples {
			samples[i] = store.Sample{Series: series[i], Value: float64(tick) + float64(i)/7}
		}
		k.EnsureHeadroom(t.Context())
		r, err := in.Insert(t.Context(), time.UnixMilli(1_700_000_000_000+tick), samples)
		if err != nil {
			t.Fatal(err)
		}
		rows += r.Inserted
		size := store.WALSize(path)
		if size < last {
			last = 0
		}
		through.Add(size - last)
		last = size
		if largest = max(largest, size); largest >= bound {
			t.Fatalf("the WAL grew to %d MB after %d MB", largest>>20, through.Load()>>20)
		}
	}
	took := time.Since(start)
	reader.Signal(os.Interrupt)
	cancel()
	if err := <-running; err != nil {
		t.Fatal(err)
	}
	reader.Kill()
	if err := in.EndSession(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.Final(t.Context())
	if size := store.WALSize(path); size != 0 {
		t.Errorf("the WAL after the last checkpoint: %d bytes", size)
	}
	t.Logf("%d rows, %d MB through the WAL in %v, at most %d MB in it, %d checkpoints reclaimed %d MB",
		rows, through.Load()>>20, took.Round(time.Millisecond), largest>>20, checkpoints.Load(), reclaimed.Load()>>20)
	if reclaimed.Load() == 0 || checkpoints.Load() < 2 {
		t.Error("hardly any checkpoint: the test proves nothing")
	}
	if err := errors.Join(in.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestWAL_StaysBelowWhileDraining marks a backlog as fast as it can, with collectord's checkpointer
// beside it, which knows nothing of it but what it sees every look.
func TestWAL_StaysBelowWhileDraining(t *testing.T) {
	t.Parallel()
	const (
		bound = int64(4 << 20)
		rows  = 300_000
		batch = 10_000 // half a MB
	)
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]store.Sample, 1000)
	for i := range samples {
		samples[i].Series = store.NewSeries("device", "m", store.Number, store.Tag{Name: "i", Value: fmt.Sprint(i)})
	}
	for tick := range rows / len(samples) {
		if _, err := in.Insert(t.Context(), time.UnixMilli(1_700_000_000_000+int64(tick)), samples); err != nil {
			t.Fatal(err)
		}
	}
	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	owner := New(Config{Path: path, Interval: time.Hour, Size: bound, Owner: true}, in.Checkpoint, quiet)
	var checkpoints atomic.Int64
	owner.Done = func(store.CheckpointResult) { checkpoints.Add(1) }
	standIn := New(Config{Path: path, Interval: time.Hour, Size: bound}, ob.Checkpoint, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = owner.Run(ctx) })
	testkit.Eventually(t, testkit.WaitLimit, "collectord's checkpointer holds the lock", func() bool {
		_, held, _ := lock.Holder(path + ".checkpoint.lock")
		return held
	})
	running.Go(func() { _ = standIn.Run(ctx) })

	var largest int64
	for n := 0; ; n++ {
		standIn.EnsureHeadroom(t.Context())
		pending, err := ob.Pending(t.Context(), 0, batch, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(pending) == 0 {
			break
		}
		keys := make(store.KeySet, len(pending))
		for i, r := range pending {
			keys[i] = r.Key
		}
		c := &store.Chunk{BatchID: "drain", Index: n, Keys: keys, Contiguous: true, Created: time.Now()}
		if err := errors.Join(ob.RecordSending(t.Context(), c), ob.MarkAllUploaded(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
		if largest = max(largest, store.WALSize(path)); largest >= bound {
			t.Fatalf("the WAL grew to %d kB", largest>>10)
		}
	}
	cancel()
	running.Wait()
	t.Logf("at most %d kB in the WAL, %d checkpoints", largest>>10, checkpoints.Load())
	if checkpoints.Load() == 0 {
		t.Error("no checkpoint was needed: the test proves nothing")
	}
	owner.Final(t.Context())
	if err := errors.Join(ob.Close(t.Context()), in.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

func startReader(t *testing.T, path string) *testkit.Proc {
	t.Helper()
	self := testkit.Self(t)
	p := testkit.StartProc(t, testkit.Command{Path: "sh", Args: append([]string{"-c", `sleep 600 | "$0" "$@"`, self.Path}, self.Args...), Env: []string{jobVar + "=" + path}})
	p.WaitLine(testkit.WaitLimit, "reading")
	return p
}
