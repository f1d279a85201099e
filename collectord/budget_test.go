package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

// TestBudget: while no shipperd ships, the oldest rows go when the data is above
// the budget, and are counted. While one does, none goes.
func TestBudget(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "collectord"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(t.Context()) })
	samples := make([]store.Sample, 5000)
	for i := range samples {
		samples[i].Series = store.NewSeries("dev", "m", store.Number, store.Tag{Name: "i", Value: fmt.Sprint(i)})
	}
	const ticks = 20
	for second := range int64(ticks) {
		if _, err := in.Insert(t.Context(), time.Unix(1_790_000_000+second, 0), samples); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	c := config.StorageConfig{Path: path, MaxSizeMB: 66, WALCheckpointSizeMB: 64}
	counted := 0.0
	b := newBudget(c, in, func(n float64) { counted += n }, slog.New(slog.NewTextHandler(&log, nil)))

	shipperd, err := lock.Acquire(path + ".budget.lock")
	if err != nil {
		t.Fatal(err)
	}
	b.once(t.Context())
	if counted != 0 || log.Len() > 0 {
		t.Errorf("%v dropped beside a shipperd that ships: %s", counted, log.String())
	}
	if err := shipperd.Release(); err != nil {
		t.Fatal(err)
	}

	b.once(t.Context())
	ob, err := store.OpenOutbox(t.Context(), store.Options{Path: path, Daemon: "shipperd"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ob.Close(t.Context()) })
	size, err := ob.DataSize(t.Context())
	if err != nil || size > c.MaxDataBytes() {
		t.Errorf("the data takes %d bytes, %v, want at most %d", size, err, c.MaxDataBytes())
	}
	l, err := ob.Ledger(t.Context())
	if err != nil || l.Difference() != 0 || l.Inserted != ticks*int64(len(samples)) {
		t.Errorf("ledger %+v, %v", l, err)
	}
	dropped := l.Dropped["unattended"]
	if dropped == 0 || dropped == l.Inserted || float64(dropped) != counted || !strings.Contains(log.String(), fmt.Sprintf("count=%d", dropped)) {
		t.Errorf("ledger: %d dropped, counted: %v, log: %s", dropped, counted, log.String())
	}
	rows, err := ob.Pending(t.Context(), 0, 1, nil)
	if err != nil || len(rows) != 1 || rows[0].Key.TimestampMS() <= 1_790_000_000_000 {
		t.Errorf("the oldest row is %v, %v: the oldest should have gone", rows, err)
	}

	before := log.Len()
	b.once(t.Context()) // enough room now
	if log.Len() != before {
		t.Errorf("once more: %s", log.String()[before:])
	}
}

// TestBudget_RepeatsAreThrottled: what is dropped again and again for half an hour is a
// line a minute, and one when it is over; the lines have all of it.
func TestBudget_RepeatsAreThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := config.StorageConfig{Path: filepath.Join(t.TempDir(), "metrics.db"), MaxSizeMB: 66, WALCheckpointSizeMB: 64}
		counted := 0.0
		b := newBudget(c, &store.Inserter{}, func(n float64) { counted += n }, slog.New(slog.NewTextHandler(&log, nil)))
		start, parts := time.Now(), 0
		b.size = func(context.Context) (int64, error) {
			if time.Since(start) > 30*time.Minute {
				return 0, nil
			}
			return c.MaxDataBytes() + 1, nil
		}
		b.enforce = func(context.Context, int64) (store.Freed, error) {
			parts++
			return store.Freed{Pending: 10, DeadLetters: 1, More: parts%3 != 0}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := b.run(ctx); err != nil {
			t.Fatal(err)
		}
		if parts < 80 || counted != float64(10*parts) {
			t.Errorf("%d parts, %v counted", parts, counted)
		}
		for text, most := range map[string]int{"dropped undelivered": 31, "dead letters deleted to free space": 31, "no more samples": 1, "no more dead letters": 1} {
			if n := strings.Count(log.String(), text); n == 0 || n > most {
				t.Errorf("%d lines with %q, want at most %d", n, text, most)
			}
		}
		for _, want := range []string{fmt.Sprintf("failures=%d", parts), fmt.Sprintf("count=%d\n", 10*parts), fmt.Sprintf("count=%d\n", parts)} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log has no %q:\n%s", want, log.String())
			}
		}
	})
}
