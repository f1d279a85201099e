package store

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestWatch_Cut: a file that is cut off under both handles shows at the next look, whichever it is,
// and what a WAL has lost is not counted as nothing.
func TestWatch_Cut(t *testing.T) {
	t.Parallel()
	for suffix, want := range map[string]error{"": ErrDamaged, "-wal": errWALCut, "-shm": ErrReplaced} {
		t.Run("cut"+suffix, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
			mustInsert(t, in, tick0, samples(numberSeries(300), 1))
			if _, err := in.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustInsert(t, in, tick0.Add(time.Second), samples(numberSeries(300), 2))
			if err := errors.Join(in.lock.inPlace(), ob.lock.inPlace()); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := os.Truncate(path+suffix, 0); err != nil {
				t.Fatal(err)
			}
			for _, h := range []*handle{&in.handle, &ob.handle} {
				err := h.lock.inPlace()
				if !errors.Is(err, want) || ClassOf(err) != OfFile {
					t.Errorf("got %v, want %v", err, want)
				}
				if err := h.Leave(err); err != nil {
					t.Error(err)
				}
			}
			if err := errors.Join(ob.Close(t.Context()), in.Close(t.Context())); err != nil && suffix != "-shm" {
				t.Error(err)
			}
			again := openInserter(t, options(path), 0)
			checkIntegrity(t, again.pool)
			rows := queryInt(t, again.pool, "SELECT count(*) FROM metrics")
			switch notice := DamageNotice(path); suffix {
			case "-shm":
				if rows != 600 || notice != "" {
					t.Errorf("%d rows, want all 600; %q", rows, notice)
				}
			case "-wal":
				if rows != 300 || !strings.Contains(notice, "how many were lost is not known") || strings.Contains(notice, " 0 ") {
					t.Errorf("%d rows, want the 300 of the database; %q", rows, notice)
				}
			default:
				if !strings.Contains(notice, "600 were lost") { // the series went with the database
					t.Errorf("%d rows, want it told what is lost; %q", rows, notice)
				}
			}
		})
	}
}

// TestDamageNotice_NotKnown: a number that is not known is never called 0.
func TestDamageNotice_NotKnown(t *testing.T) {
	t.Parallel()
	for report, want := range map[string]string{
		`{"rows": 7, "lost": 3}`:                        "3 were lost",
		`{"rows": 7, "lost": 0}`:                        "0 were lost",
		`{"rows": 7, "lost": null}`:                     "how many were lost is not known;",
		`{"rows": 7, "lost": null, "bad_pages": 5}`:     "how many were lost is not known: 5 pages of the file could not be read",
		`{"rows": 7, "lost": null, "lost_at_least": 4}`: "how many were lost is not known: 4 or more",
		`{"rows": 7, "lost": 0, "ledger_lost": true}`:   "how many were lost is not known;", // of 1.0.0
	} {
		path := newPath(t)
		if err := os.WriteFile(path+".damaged-20261123T120000Z.report", []byte(report), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := DamageNotice(path); !strings.Contains(got, "7 samples were salvaged, "+want) {
			t.Errorf("%s: %q, want %q", report, got, want)
		}
	}
}
