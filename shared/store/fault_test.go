package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"
)

// TestSeries_Damaged: whatever is changed in the row of a series, or if it is gone, shows when it
// is read, and costs no other series anything. Its rows become dead letters whatever the file has.
func TestSeries_Damaged(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"UPDATE series SET tags = '{\"part\":\"1}' WHERE id = 1":                     DamagedSeries,
		"UPDATE series SET tags = '{\"part\":\"5\"}' WHERE id = 1":                   DamagedSeries,
		"UPDATE series SET name = 'metrib.0' WHERE id = 1":                           DamagedSeries,
		"UPDATE series SET name = CAST(x'ff00fe' AS TEXT) WHERE id = 1":              DamagedSeries,
		"UPDATE series SET device_id = 'devicf' WHERE id = 1":                        DamagedSeries,
		"UPDATE series SET value_type = 1 WHERE id = 1":                              DamagedSeries,
		"UPDATE series SET dedup_key = zeroblob(32) WHERE id = 1":                    DamagedSeries,
		"UPDATE series SET tags = CAST(zeroblob(10000000) AS TEXT) WHERE id = 1":     DamagedSeries,
		"UPDATE series SET dedup_key = zeroblob(10000000), name = 'x' WHERE id = 1":  DamagedSeries,
		"UPDATE series SET id = 1000 WHERE id = 1":                                   UnknownSeries,
		"DELETE FROM series WHERE id = 1":                                            UnknownSeries,
		"UPDATE metrics SET dedup_key = dedup_key | 1048576 WHERE dedup_key & 3 = 1": UnknownSeries,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
			mustInsert(t, in, tick0, samples(numberSeries(3), 1))
			mustExec(t, rawDB(t, path), change)
			rows, err := ob.Pending(t.Context(), 0, 100, nil)
			if err != nil || len(rows) != 3 {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			var bad []Rejection
			for _, r := range rows {
				s, err := ob.Series(t.Context(), r.Key.SeriesID())
				if err != nil {
					t.Fatal(err)
				}
				if s.Fault == "" && s.Name == "metric.0" && len(s.Tags) == 1 {
					continue
				}
				if s.Fault != want || s.Detail == "" || len(s.Detail) > 100_000 {
					t.Errorf("series %d: %q, want %q", r.Key.SeriesID(), s.Fault, want)
				}
				bad = append(bad, Rejection{r.Key, s.Fault, s.Detail})
			}
			if len(bad) != 1 {
				t.Errorf("%d of 3 rows are at fault, want 1", len(bad))
			}
			if err := ob.MoveToDeadLetters(t.Context(), bad); err != nil {
				t.Fatal(err)
			}
			letters, err := ob.DeadLetters(t.Context(), 0, 10)
			if err != nil || len(letters) != 1 || letters[0].Reason != want || letters[0].Value.Float64 != 1 || len(letters[0].Tags) > maxText {
				t.Errorf("dead letters %+v, %v", letters, err)
			}
			d, err := OpenDeadLetters(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if again, err := d.Retry(t.Context(), letters[0].ID); again || err != nil {
				t.Errorf("a sample of no known series was retried: %v, %v", again, err)
			}
			checkLedger(t, ob)
		})
	}
}

// TestSeries_Repaired: collectord knows what its series are called. It learns from the dead letters
// that one is damaged, and puts it right in the next tick.
func TestSeries_Repaired(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in, ob := openInserter(t, options(path), 0), openOutbox(t, options(path))
	all := samples(numberSeries(3), 1)
	mustInsert(t, in, tick0, all)
	mustExec(t, rawDB(t, path), "UPDATE series SET tags = '{' WHERE id = 1")
	key := PackKey(tick0.UnixMilli(), 1)
	if err := ob.MoveToDeadLetters(t.Context(), []Rejection{{key, DamagedSeries, ""}}); err != nil {
		t.Fatal(err)
	}
	mustInsert(t, in, tick0.Add(time.Second), all)
	s, err := ob.Series(t.Context(), 1)
	if err != nil || s.Fault != "" || len(s.Tags) != 1 {
		t.Errorf("got %+v, %v, want the series as it was", s, err)
	}
	if n := queryInt(t, ob.pool, "SELECT count(*) FROM series"); n != 3 {
		t.Errorf("%d series, want 3", n)
	}
}

// TestInserter_IndexLeadsAstray: the index of the series has the row of another one. A sample must
// not become that one's.
func TestInserter_IndexLeadsAstray(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), 0)
	mustInsert(t, in, tick0, samples(numberSeries(3), 1))
	db := rawDB(t, path)
	// The table has 1 and 2 exchanged, its index does not.
	mustExec(t, db, "CREATE TABLE other AS SELECT * FROM series")
	mustExec(t, db, `PRAGMA writable_schema = 1; UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'series')
		WHERE name = 'other'; PRAGMA writable_schema = RESET`)
	mustExec(t, db, "UPDATE other SET rowid = rowid - 3 WHERE rowid < 3; UPDATE other SET rowid = -rowid WHERE rowid < 0")
	again := openInserter(t, options(path), 0)
	_, err := again.Insert(t.Context(), tick0.Add(time.Second), samples(numberSeries(3), 1))
	if ClassOf(err) != OfFile {
		t.Errorf("got %v, want an error of the file", err)
	}
}

// TestPending_OutOfOrder: a flipped bit in a key breaks the order of the tree, and look-ups by key
// with it.
func TestPending_OutOfOrder(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	in := openInserter(t, options(path), 0)
	mustInsert(t, in, tick0, samples(numberSeries(10), 1))
	if _, err := in.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ob := openOutbox(t, options(path))
	content := []byte(readFile(t, path))
	key := PackKey(tick0.UnixMilli(), 5)
	at := strings.Index(string(content), string(varint(uint64(key))))
	if at < 0 {
		t.Fatal("the key is not in the file")
	}
	patch(t, path, int64(at)+3, []byte{content[at+3] ^ 4})
	_, err := ob.Pending(t.Context(), 0, 100, nil)
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// varint is a row id as SQLite writes it.
func varint(v uint64) (b []byte) {
	if v>>56 != 0 {
		b = []byte{byte(v)}
		for v >>= 8; len(b) < 9; v >>= 7 {
			b = append(b, byte(v)|0x80)
		}
	} else {
		b = []byte{byte(v) & 0x7f}
		for v >>= 7; v > 0; v >>= 7 {
			b = append(b, byte(v)|0x80)
		}
	}
	slices.Reverse(b)
	return b
}

// TestMend: a record of a chunk that makes no sense goes. Whatever of its rows the server may have
// is read back, and no other chunk changes.
func TestMend(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		"row_keys = x'0500'", "row_keys = zeroblob(20000000)", "sample_count = 6", "first_key = first_key + 1", "last_key = last_key | 1 << 50",
		"row_keys = substr(row_keys, 1, length(row_keys) - 1)", "state = 'sendinf'", "batch_id = 'batch-' || char(17)", "state = 'acceptee'",
	} {
		for _, state := range []ChunkState{Sending, Accepted, Verified} {
			t.Run(fmt.Sprint(change, state), func(t *testing.T) {
				t.Parallel()
				d := newDelivery(t)
				bad, other := d.record(true, d.all[:5]...), d.record(true, d.all[5:10]...)
				proven := d.record(true, d.all[10:15]...)
				if state != Sending {
					d.do(d.ob.MarkUploaded(t.Context(), bad, nil, nil))
				}
				if state == Verified {
					d.do(d.ob.MarkVerified(t.Context(), bad))
				}
				d.do(d.ob.MarkUploaded(t.Context(), proven, nil, nil))
				d.do(d.ob.MarkVerified(t.Context(), proven))
				mustExec(t, d.db, "PRAGMA ignore_check_constraints = 1")
				mustExec(t, d.db, "UPDATE upload_checkpoints SET "+change+" WHERE id = ?", bad.ID)
				n, err := d.ob.Mend(t.Context())
				if err != nil || n != 1 {
					t.Fatalf("%d records, %v", n, err)
				}
				chunks, err := d.ob.OpenChunks(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				open := map[Key]ChunkState{}
				for _, c := range chunks {
					for _, k := range c.Keys {
						open[k] = c.State
					}
				}
				want := Sending
				if state != Sending {
					want = Accepted
				}
				for i, k := range d.all {
					wanted := Sending // pending rows are asked for, all of them
					if i < 5 {
						wanted = want
					} else if 10 <= i && i < 15 {
						wanted = ""
					}
					if open[k] != wanted {
						t.Errorf("row %d is %q, want %q", i, open[k], wanted)
					}
				}
				if got := queryInt(t, d.db, "SELECT count(*) FROM upload_checkpoints WHERE id IN (?, ?)", other.ID, proven.ID); got != 2 {
					t.Errorf("%d of 2 other records are left", got)
				}
				checkConsistent(t, d.db)
				checkLedger(t, d.ob)
				if n, err := d.ob.Mend(t.Context()); n != 0 || err != nil {
					t.Errorf("mended again: %d, %v", n, err)
				}
			})
		}
	}
}

// TestClassOf: what SQLite says beyond the passing troubles speaks against the file, and each
// trouble has its class.
func TestClassOf(t *testing.T) {
	t.Parallel()
	db := rawDB(t, newPath(t))
	mustExec(t, db, "CREATE TABLE t(a INTEGER NOT NULL) STRICT")
	for statement, want := range map[string]Class{
		"SELECT b FROM t":                           OfFile,
		"SELECT * FROM u":                           OfFile,
		"INSERT INTO t VALUES (NULL)":               OfFile,
		"INSERT INTO t VALUES ('x')":                OfFile,
		"SELECT zeroblob(2000000000)":               OfFile,
		"SELECT 1 FROM t WHERE json_valid(1, 2, 3)": OfFile,
	} {
		_, err := db.Exec(statement)
		if err == nil {
			continue
		}
		if got := ClassOf(fmt.Errorf("do it: %w", classify(err))); got != want {
			t.Errorf("%s: %v is %d, want %d", statement, err, got, want)
		}
	}
	var n int
	for query, want := range map[string]Class{"SELECT a FROM t": OfFile, "SELECT NULL": OfFile, "SELECT 'x'": OfFile} {
		if err := scan(db.QueryRow(query), &n); ClassOf(err) != want {
			t.Errorf("%s: %v, want class %d", query, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := scan(db.QueryRowContext(ctx, "SELECT 1"), &n); err == nil || ClassOf(err) != Passing {
		t.Errorf("a cancelled query is %v", err)
	}
	for err, want := range map[error]Class{
		ErrFull: Passing, ErrBusy: Passing, ErrReadOnly: Passing, ErrIO: Passing, ErrPart: OfPart,
		ErrDamaged: OfFile, ErrReplaced: OfFile, ErrSalvage: OfFile, ErrStuck: OfFile, new(sqlite.Error): OfFile,
	} {
		if got := ClassOf(classify(err)); got != want {
			t.Errorf("%v is %d, want %d", err, got, want)
		}
	}
}

// TestPatience: what names no event that ends it is not waited for without an end.
func TestPatience(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for _, waits := range []error{ErrFull, ErrBusy, ErrReadOnly} {
			p := &handle{o: Options{Path: dir + "/metrics.db"}}
			for range 100 {
				if got := p.Met(waits); !errors.Is(got, waits) || ClassOf(got) != Passing {
					t.Fatalf("%v became %v", waits, got)
				}
				time.Sleep(time.Hour)
			}
		}
		p := &handle{o: Options{Path: dir + "/metrics.db"}}
		for range 10 {
			_ = p.Met(ErrIO)
			time.Sleep(stuckAfter - time.Second)
			if got := p.Met(ErrIO); ClassOf(got) != Passing {
				t.Fatalf("too early: %v", got)
			}
			_ = p.Met(nil) // it was over for a moment
		}
		_ = p.Met(ErrIO)
		time.Sleep(stuckAfter)
		if got := p.Met(ErrIO); !errors.Is(got, ErrStuck) || !errors.Is(got, ErrIO) {
			t.Errorf("got %v, want ErrStuck", got)
		}
	})
}
