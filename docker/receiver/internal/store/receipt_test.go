package store

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"belabox-metrics/docker/receiver/internal/line"
)

func receipt(device, chunk, body string) *Receipt {
	return &Receipt{Device: device, Chunk: chunk, Body: sha256.Sum256([]byte(body)), Answer: []byte(`{"accepted":1}`)}
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := newStore(t, path)
	ctx := t.Context()
	put := func(r *Receipt) {
		t.Helper()
		if err := s.WriteChunk(ctx, []line.Line{series("a", "d", 1, 1)}, r); err != nil {
			t.Fatal(err)
		}
	}
	want := func(s *Store, device, chunk, body string) {
		t.Helper()
		r, ok, err := s.Receipt(ctx, device, chunk)
		if err != nil || ok != (body != "") || ok && (r.Body != sha256.Sum256([]byte(body)) || string(r.Answer) != `{"accepted":1}`) {
			t.Errorf("%s %s: got %+v, %v, %v; want %q", device, chunk, r, ok, err, body)
		}
	}
	put(receipt("d", "c/0", "x"))
	put(receipt("e", "c/0", "y"))
	want(s, "d", "c/0", "x")
	want(s, "e", "c/0", "y")
	want(s, "d", "c/1", "")
	put(receipt("d", "c/0", "z")) // the last one counts
	want(s, "d", "c/0", "z")

	// It goes with its samples: not if they do not.
	limitPages(t, s, 3)
	if err := s.WriteChunk(ctx, []line.Line{series("b", "d", 1, 5000)}, receipt("d", "c/9", "x")); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	want(s, "d", "c/9", "")

	// It outlives the process.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want(newStore(t, path), "d", "c/0", "z")
}

func TestReceipt_Bounded(t *testing.T) {
	t.Parallel()
	s := newStore(t, newPath(t))
	// As if there had been many: ids are all that counts.
	err := s.do(t.Context(), 0, func(w *writer) error {
		return w.exec(fmt.Sprintf(`INSERT INTO chunks (id, device_id, chunk, body, answer)
			VALUES (1, 'd', 'old', zeroblob(32), ''), (%d, 'd', 'new', zeroblob(32), '')`, maxReceipts))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteChunk(t.Context(), []line.Line{series("a", "d", 1, 1)}, receipt("d", "newest", "x")); err != nil {
		t.Fatal(err)
	}
	for chunk, want := range map[string]bool{"old": false, "new": true, "newest": true} {
		if _, got, err := s.Receipt(t.Context(), "d", chunk); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", chunk, got, err, want)
		}
	}
}

// A file of the first receiver is taken on, and its samples with it.
func TestOpen_UpgradesVersion1(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(fmt.Sprintf(`%s; PRAGMA application_id = %d; PRAGMA user_version = 1;
		INSERT INTO series VALUES (1, '{"__name__":"a","device_id":"d"}', 'a', 'd'); INSERT INTO samples VALUES (1, 5, 7)`,
		schema[0], applicationID)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, path)
	if err := s.WriteChunk(t.Context(), []line.Line{series("a", "d", 1, 1)}, receipt("d", "c/0", "x")); err != nil {
		t.Fatal(err)
	}
	var samples int
	if err := s.read.QueryRow(`SELECT count(*) FROM samples WHERE series_id = 1`).Scan(&samples); err != nil || samples != 2 {
		t.Errorf("got %d samples, %v", samples, err)
	}
}
