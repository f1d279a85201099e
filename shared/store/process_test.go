package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// maxWAL is where the WAL must stay below under any load.
const maxWAL = 64 << 20

// TestTwoProcesses has one process insert and checkpoint at full speed and
// another one read, record and mark. Neither may ever be told that the file is
// busy, and each row is delivered once.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	if err := Migrate(t.Context(), options(path)); err != nil {
		t.Fatal(err)
	}
	child := startJob(t, "insert-for", path, "2s")
	child.WaitLine(testkit.WaitLimit, "begin")
	ob := openOutbox(t, options(path))
	var delivered KeySet
	var accepted []*Chunk
	largest, chunks := int64(0), 0
	for running := true; running; {
		select {
		case <-child.Done():
			running = false // what it left is read once more
		default:
		}
		for {
			largest = max(largest, WALSize(path))
			keys := pendingKeys(t, ob, 20_000, nil)
			if len(keys) == 0 {
				break
			}
			// Two chunks of one batch: one in a row, one with gaps.
			half := len(keys) / 2
			first, second := newChunk(keys[:half], true), newChunk(slices.Clone(keys[half:]), false)
			pair := slices.DeleteFunc([]*Chunk{first, second}, func(c *Chunk) bool { return len(c.Keys) == 0 })
			if err := ob.RecordSending(t.Context(), pair...); err != nil {
				t.Fatal(err)
			}
			for _, c := range pair {
				if err := ob.MarkUploaded(t.Context(), c, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			delivered = append(delivered, keys...)
			accepted = append(accepted, pair...)
			chunks += len(pair)
			for ; len(accepted) > 10; accepted = accepted[1:] {
				if err := ob.MarkVerified(t.Context(), accepted[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if code := child.Wait(testkit.WaitLimit); code != 0 {
		t.Fatalf("the inserting process: exit code %d", code)
	}
	var inserted, checkpoints int
	if _, err := fmt.Sscanf(child.WaitLine(time.Second, "inserted"), "inserted %d rows, %d checkpoints", &inserted, &checkpoints); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows, %d chunks, %d checkpoints, WAL at most %d KiB", inserted, chunks, checkpoints, largest>>10)
	if inserted == 0 || chunks < 2 || checkpoints == 0 {
		t.Error("the processes did not work at the same time: the test proves nothing")
	}
	if got := len(slices.Clone(delivered).Sorted()); got != len(delivered) || got != inserted {
		t.Errorf("%d rows delivered, %d of them different, want %d", len(delivered), got, inserted)
	}
	if got := queryInt(t, ob.db, "SELECT count(*) FROM metrics WHERE uploaded = 1"); got != int64(inserted) {
		t.Errorf("%d rows are marked, want %d", got, inserted)
	}
	if largest >= maxWAL {
		t.Errorf("the WAL grew to %d bytes", largest)
	}
	checkConsistent(t, ob.db)
	checkLedger(t, ob)
	checkIntegrity(t, ob.db)
}

// insertFor inserts ticks for the time arg. Every tenth is older than all before.
func insertFor(path, arg string) error {
	duration, err := time.ParseDuration(arg)
	if err != nil {
		return err
	}
	in, err := OpenInserter(background, options(path), 50*time.Millisecond)
	if err != nil {
		return err
	}
	fmt.Println("begin")
	checkpoints, running := 0, make(chan error, 1) // holds the result of the last checkpoint
	running <- nil
	series := numberSeries(100)
	inserted, start := 0, time.Now()
	for tick := 1; time.Since(start) < duration; tick++ {
		ts := tick0.Add(time.Duration(tick) * time.Millisecond)
		if tick%10 == 0 {
			ts = tick0.Add(-time.Duration(tick) * time.Millisecond)
		}
		r, err := in.Insert(background, ts, samples(series, float64(tick)))
		if err != nil || r.Inserted != len(series) {
			return fmt.Errorf("tick %d: %+v, %w", tick, r, err)
		}
		inserted += r.Inserted

		size := WALSize(path)
		if size > 256<<10 && len(running) == cap(running) {
			if err := <-running; err != nil { // of the last one
				return err
			}
			checkpoints++
			go func() { running <- checkpointAll(in) }()
		}
		if size > maxWAL/2 { // no disk keeps up with this loop for ever
			running <- <-running
		}
	}
	if err := errors.Join(<-running, in.Close(background)); err != nil {
		return err
	}
	fmt.Printf("inserted %d rows, %d checkpoints\n", inserted, checkpoints)
	return nil
}

// checkpointAll wants checkpoints to reset the WAL: a reader whose transactions
// are short cannot keep them from that. One alone may find somebody in the way at
// each of its tries, on a busy machine; the daemon comes back, and so does this.
func checkpointAll(in *Inserter) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		r, err := in.Checkpoint(background)
		if err != nil || r.Complete {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("checkpoint %+v is incomplete", r)
		}
	}
}

// crashTick is how many samples a tick of the crash test has: two statements of
// a group, some single rows, and a text.
const crashTick = 2*mostRows + 5 + 1

// TestCrash kills an inserting process again and again. Every tick that it
// acknowledged is in the file, and there is no part of a tick.
func TestCrash(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	acknowledged := 0
	const rounds = 6
	for round := range rounds {
		first := 1_000_000 * round
		child := startJob(t, "insert-for-ever", path, strconv.Itoa(first))
		child.WaitLine(testkit.WaitLimit, fmt.Sprintf("tick %d.", first+rand.IntN(150)))
		child.Kill()
		last := first - 1
		for _, l := range child.Lines() {
			number, ok := strings.CutPrefix(strings.TrimSuffix(l, "."), "tick ")
			if n, err := strconv.Atoi(number); ok && strings.HasSuffix(l, ".") && err == nil {
				last = n
			}
		}
		acknowledged += last - first + 1

		db := rawDB(t, path)
		checkIntegrity(t, db)
		checkConsistent(t, db)
		if torn := queryLines(t, db, "SELECT timestamp_ms, count(*) FROM metric_rows GROUP BY 1 HAVING count(*) <> ?", crashTick); len(torn) > 0 {
			t.Errorf("round %d: ticks in part: %s", round, torn)
		}
		from, to := tick0.UnixMilli()+int64(first), tick0.UnixMilli()+int64(last)
		got := queryInt(t, db, "SELECT count(DISTINCT timestamp_ms) FROM metric_rows WHERE timestamp_ms BETWEEN ? AND ?", from, to)
		if want := int64(last - first + 1); got != want {
			t.Errorf("round %d: %d ticks are in the file, %d were acknowledged", round, got, want)
		}
		// At most the one tick more that was committed but not reported.
		if got := queryInt(t, db, "SELECT count(*) FROM metric_rows WHERE timestamp_ms > ?", to); got != 0 && got != crashTick {
			t.Errorf("round %d: %d rows beyond the last acknowledged tick", round, got)
		}
		if got := queryInt(t, db, "SELECT count(*) FROM sessions WHERE NOT clean AND ended_ms IS NULL"); got != int64(round+1) {
			t.Errorf("round %d: %d unclean sessions, want %d", round, got, round+1)
		}
		db.Close()
	}
	ob := openOutbox(t, options(path))
	if l := checkLedger(t, ob); l.Inserted < int64(acknowledged*crashTick) || l.Inserted > int64((acknowledged+rounds)*crashTick) {
		t.Errorf("the ledger has %d samples, acknowledged were %d", l.Inserted, acknowledged*crashTick)
	}
}

// insertForEver inserts a tick for each millisecond from arg on, with a new
// series in each, and says so after each.
func insertForEver(path, arg string) error {
	first, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	in, err := OpenInserter(background, options(path), 20*time.Millisecond)
	if err != nil {
		return err
	}
	series := numberSeries(crashTick - 2)
	text := NewSeries("device", "text", Text)
	for tick := first; ; tick++ {
		all := append(samples(series, float64(tick)), Sample{Series: text, Text: "x"},
			Sample{Series: NewSeries("device", "new", Number, Tag{"tick", strconv.Itoa(tick)})})
		r, err := in.Insert(background, tick0.Add(time.Duration(tick)*time.Millisecond), all)
		if err != nil || r.Inserted != crashTick {
			return fmt.Errorf("tick %d: %+v, %w", tick, r, err)
		}
		fmt.Printf("tick %d.\n", tick)
		if tick%30 == 0 {
			if _, err := in.Checkpoint(background); err != nil {
				return err
			}
		}
	}
}
