package health

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
)

// A damaged file that was set aside is reported until somebody removes it.
func TestStorageOf(t *testing.T) {
	t.Parallel()
	c := config.StorageConfig{Path: filepath.Join(t.TempDir(), "metrics.db")}
	backlog := func(b store.Backlog, err error) *Remembered[store.Backlog] {
		return &Remembered[store.Backlog]{Read: func(context.Context) (store.Backlog, error) { return b, err }}
	}
	got := StorageOf(t.Context(), c, backlog(store.Backlog{Rows: 2, OldestMS: 1000}, nil))
	if len(got.Found) != 0 || got.Pending != 2 || !got.OldestPending.Equal(time.Unix(1, 0)) {
		t.Errorf("got %+v", got)
	}
	got = StorageOf(t.Context(), c, backlog(store.Backlog{}, errors.New("no such table")))
	if f := got.Found; len(f) != 1 || f[0].Code != "database_unreadable" || !strings.Contains(f[0].Message, "no such table") {
		t.Errorf("got %+v", f)
	}
	report := `{"time": "2026-11-23T12:00:00Z", "reason": "a bad page", "damaged_file": "x.damaged", "rows": 7, "lost": 3}`
	if err := os.WriteFile(c.Path+".damaged-20261123T120000Z.report", []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	f := StorageOf(t.Context(), c, backlog(store.Backlog{}, nil)).Found
	if len(f) != 1 || f[0].Code != "database_damaged" || !f[0].Since.Equal(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)) || !strings.Contains(f[0].Message, "3 were lost") {
		t.Errorf("got %+v, want the damage, since then", f)
	}
}

func TestAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.db")
	away := func() []Active { return Away(CollectordAway, path, "collectord", func() time.Time { return now }) }
	if got := away(); len(got) != 1 || got[0] != CollectordAway.Active(now, "") {
		t.Errorf("not running: got %+v", got)
	}
	held, err := lock.Acquire(path + ".collectord.lock")
	if err != nil {
		t.Fatal(err)
	}
	if got := away(); len(got) != 0 {
		t.Errorf("running: got %+v", got)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + ".collectord.lock"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("metrics.db.collectord.lock", path+".collectord.lock"); err != nil {
		t.Fatal(err)
	}
	if got := away(); len(got) != 1 || !strings.Contains(got[0].Message, "its lock cannot be read") {
		t.Errorf("a lock that is no file: got %+v", got)
	}
}
