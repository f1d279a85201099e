package storetest_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/store/storetest"
)

func TestHold(t *testing.T) {
	t.Parallel()
	o := store.Options{Path: filepath.Join(t.TempDir(), "metrics.db"), Daemon: "test", BusyTimeout: 10 * time.Millisecond}
	ob, err := store.OpenOutbox(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ob.Close(t.Context()) })
	release := storetest.Hold(t, o.Path)
	if _, err := ob.Prune(t.Context(), time.Now(), 1); !errors.Is(err, store.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	release()
	if _, err := ob.Prune(t.Context(), time.Now(), 1); err != nil {
		t.Errorf("after release: %v", err)
	}
}
