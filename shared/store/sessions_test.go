package store

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	now := tick0
	o := Options{Path: path, Daemon: "collectord", Version: "1.2.3", Now: func() time.Time { return now }}
	boot := ""
	if text, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		boot = strings.TrimSpace(string(text))
	}

	killed := openInserter(t, o, time.Hour)
	_ = killed.close() // without a word, as the kernel does it
	now = now.Add(time.Minute)
	clean := openInserter(t, o, time.Hour)
	now = now.Add(time.Minute)
	if err := clean.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.Daemon = "shipperd"
	running := openOutbox(t, o)

	ms := tick0.UnixMilli()
	got := queryLines(t, rawDB(t, path), "SELECT id, uuid, daemon, version, boot_id, started_ms, ended_ms, clean FROM sessions ORDER BY id")
	want := []string{
		line(killed.Session().ID, killed.Session().UUID, "collectord", "1.2.3", boot, ms, nil, int64(0)),
		line(clean.Session().ID, clean.Session().UUID, "collectord", "1.2.3", boot, ms+60_000, ms+120_000, int64(1)),
		line(running.Session().ID, running.Session().UUID, "shipperd", "1.2.3", boot, ms+120_000, nil, int64(0)),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, s := range []Session{killed.Session(), clean.Session(), running.Session()} {
		if _, err := uuid.Parse(s.UUID); err != nil {
			t.Errorf("session %d: %v", s.ID, err)
		}
	}
	now = now.Add(time.Minute)
	if err := running.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := queryInt(t, rawDB(t, path), "SELECT count(*) FROM sessions WHERE daemon = 'shipperd' AND clean = 1 AND ended_ms = ?", now.UnixMilli()); got != 1 {
		t.Error("the outbox has not ended its session")
	}
}

// TestSessions_RowsNameTheirRun: two runs, and rows that no run inserted.
func TestSessions_RowsNameTheirRun(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	want := []string{}
	for tick := range 2 {
		in := openInserter(t, options(path), time.Hour)
		mustInsert(t, in, tick0.Add(time.Duration(tick)*time.Second), samples(numberSeries(1), 1))
		want = append(want, line(in.Session().UUID))
		if err := in.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	db := rawDB(t, path)
	mustExec(t, db, "INSERT INTO metrics (dedup_key, value) VALUES (?, 1)", int64(PackKey(tick0.Add(time.Hour).UnixMilli(), 1)))
	want = append(want, line(nil))
	if got := queryLines(t, db, "SELECT session_id FROM metric_rows ORDER BY timestamp_ms"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
