package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
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
	if dropped == 0 || dropped == l.Inserted || float64(dropped) != counted || !strings.Contains(log.String(), fmt.Sprintf("dropped=%d", dropped)) {
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
