package store

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLetters_Retry(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), time.Hour), openOutbox(t, options(path))
	mustInsert(t, in, tick0, samples(numberSeries(4), 1))
	keys := pendingKeys(t, ob, 10, nil)
	if err := ob.MoveToDeadLetters(t.Context(), []Rejection{{keys[1], "rejected", "HTTP 400"}, {keys[2], "rejected", "HTTP 400"}}); err != nil {
		t.Fatal(err)
	}
	open := recordPending(t, ob, 10) // spans the place of the letters
	db := rawDB(t, path)
	sessions := queryInt(t, db, "SELECT count(*) FROM sessions")

	l, err := OpenDeadLetters(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	letters, err := l.DeadLetters(t.Context(), 0, 10)
	if err != nil || len(letters) != 2 {
		t.Fatalf("got %v, %v, want 2 letters", letters, err)
	}
	if retried, err := l.Retry(t.Context(), letters[0].ID); !retried || err != nil {
		t.Errorf("got %v, %v, want it retried", retried, err)
	}
	if _, err := l.Retry(t.Context(), letters[0].ID); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a second time: %v", err)
	}
	checkConsistent(t, db)
	checkLedger(t, ob)
	// The running loop goes on as if nothing had been.
	if err := ob.MarkUploaded(t.Context(), open, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := pendingKeys(t, ob, 10, nil); !slices.Equal(got, KeySet{keys[1]}) {
		t.Errorf("pending after the retry: %v, want %v", got, keys[1])
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n := queryInt(t, db, "SELECT count(*) FROM sessions"); n != sessions {
		t.Errorf("%d sessions, want %d: a command is none", n, sessions)
	}
	checkConsistent(t, db)
	checkLedger(t, ob)
}
