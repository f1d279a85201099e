package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// salvagePoints are where a salvage may be cut short.
var salvagePoints = []string{"planned", "made", "decided", "set aside-wal", "set aside-shm", "set aside", "exchanged"}

// TestSalvage_Crash ends the process at each of its points. The next start, of
// another process, gets the same file as without the crash, and the damaged one is
// kept as it was.
func TestSalvage_Crash(t *testing.T) {
	t.Parallel()
	whole := lived(t, 30)
	patch(t, whole.path, 16, []byte(strings.Repeat("\xa5", 84)))
	patch(t, whole.path+"-wal", 32+10*frameBytes+100, []byte("torn"))
	damaged, wal := readFile(t, whole.path), readFile(t, whole.path+"-wal")
	smooth := whole.copyTo(t, newPath(t))
	wantLost, _ := smooth.check(t, smooth.options())
	want := rowDump(t, smooth)
	for _, point := range salvagePoints {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			l := whole.copyTo(t, newPath(t))
			child := startJob(t, "crash-in-salvage", l.path, point)
			if code := child.Wait(testkit.WaitLimit); code != 77 {
				t.Fatalf("exit code %d, want the crash point's 77", code)
			}
			if lost, _ := l.check(t, l.options()); lost != wantLost {
				t.Errorf("%d rows lost, %d without the crash", lost, wantLost)
			}
			if got := rowDump(t, l); got != want {
				t.Errorf("another file than without the crash:\n%s", diff(got, want))
			}
			reports, err := DamagedFiles(l.path)
			if err != nil || len(reports) != 1 {
				t.Fatalf("reports: %+v, %v, want one", reports, err)
			}
			r := reports[0]
			if readFile(t, r.Aside) != damaged || readFile(t, r.Aside+"-wal") != wal {
				t.Error("the damaged files are not as they were")
			}
			for _, name := range listFolder(t, filepath.Dir(l.path)) {
				if strings.Contains(name, planSuffix) || strings.Contains(name, newSuffix) {
					t.Errorf("%q is left over", name)
				}
			}
		})
	}
}

// rowDump is what a salvage makes of rows and accounts, without times and ids.
func rowDump(t *testing.T, l *life) string {
	t.Helper()
	db := rawDB(t, l.path)
	defer db.Close()
	var b strings.Builder
	for _, query := range []string{
		"SELECT * FROM metrics", "SELECT * FROM series", "SELECT * FROM dead_letters", "SELECT * FROM ledger", "SELECT * FROM outbox",
		"SELECT daemon, name, tags, kind, value FROM daemon_stats",
		"SELECT state, first_key, last_key, hex(row_keys), sample_count FROM upload_checkpoints",
		"SELECT sent, received FROM traffic",
	} {
		lines := queryLines(t, db, query)
		slices.Sort(lines)
		fmt.Fprintln(&b, query, len(lines))
		fmt.Fprintln(&b, strings.Join(lines, "\n"))
	}
	return b.String()
}

func crashInSalvage(path, point string) error {
	o := options(path)
	o.crash = func(at string) {
		if at == point {
			os.Exit(77)
		}
	}
	return Migrate(background, o)
}

// TestSalvage_NoRoom: without room nothing is changed, and the sentence says what
// is needed; with room the next start does it.
func TestSalvage_NoRoom(t *testing.T) {
	t.Parallel()
	l := lived(t, 40)
	patch(t, l.path, 16, []byte(strings.Repeat("\xa5", 84)))
	patch(t, l.path+"-wal", 0, make([]byte, 32))
	before := readFile(t, l.path)
	o := l.options()
	o.MaxPages = 40
	err := Migrate(t.Context(), o)
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "it needs space for a second file") {
		t.Errorf("got %v, want ErrFull and what is needed", err)
	}
	if readFile(t, l.path) != before || len(l.damagedFiles(t)) > 0 {
		t.Error("something was changed")
	}
	if lost, _ := l.check(t, l.options()); lost > 0 {
		t.Errorf("%d rows lost", lost)
	}
}

// TestSalvage_BothStart: whoever comes first salvages, the other one takes the new
// file.
func TestSalvage_BothStart(t *testing.T) {
	t.Parallel()
	for range 3 {
		l := lived(t, 30)
		patch(t, l.path, 0, make([]byte, 100))
		patch(t, l.path+"-wal", 0, make([]byte, 32))
		var children []*testkit.Proc
		for range 3 {
			children = append(children, startJob(t, "open-and-close", l.path, ""))
		}
		for _, c := range children {
			if code := c.Wait(testkit.WaitLimit); code != 0 {
				t.Fatalf("exit code %d", code)
			}
		}
		reports, err := DamagedFiles(l.path)
		if err != nil || len(reports) != 1 {
			t.Fatalf("%d reports, %v, want one", len(reports), err)
		}
		if lost, _ := l.check(t, l.options()); lost > 0 {
			t.Errorf("%d rows lost", lost)
		}
	}
}

func openAndClose(path, _ string) error {
	ob, err := OpenOutbox(background, options(path))
	if err != nil {
		return err
	}
	return ob.Close(background)
}

// TestSalvage_WhileInUse: one daemon meets damage while the other works. The other
// is told, and the file is exchanged only when it has let go.
func TestSalvage_WhileInUse(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	o := options(path)
	o.watchEvery = 10 * time.Millisecond
	in := openInserter(t, o, 0)
	mustInsert(t, in, tick0, samples(numberSeries(20), 1))
	if err := in.lock.inPlace(); err != nil {
		t.Fatalf("all is well: %v", err)
	}
	for _, err := range []error{nil, ErrFull, ErrBusy, errors.New("other")} {
		if err := RequestSalvage(path, err); err != nil {
			t.Fatal(err)
		}
		if err := in.lock.inPlace(); err != nil {
			t.Fatalf("a salvage is asked for after another error: %v", err)
		}
	}
	if err := RequestSalvage(path, fmt.Errorf("read: %w", ErrDamaged)); err != nil {
		t.Fatal(err)
	}
	if err := in.Watch(t.Context()); !errors.Is(err, ErrSalvage) {
		t.Errorf("got %v, want ErrSalvage", err)
	}
	opened := make(chan error, 1)
	go func() {
		ob, err := OpenOutbox(background, options(path))
		if err == nil {
			var l Ledger
			if l, err = ob.Ledger(background); err == nil && l.Pending != 40 {
				err = fmt.Errorf("pending %d, want 40", l.Pending)
			}
			err = errors.Join(err, ob.Close(background))
		}
		opened <- err
	}()
	// What is committed before it lets go is salvaged too.
	mustInsert(t, in, tick0.Add(time.Second), samples(numberSeries(20), 1))
	select {
	case err := <-opened:
		t.Fatalf("the file was opened while another had it: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	reports, err := DamagedFiles(path)
	if err != nil || len(reports) != 1 || reports[0].Rows != 40 || reports[0].Asked != 40 || reports[0].Reason != "read: "+ErrDamaged.Error() {
		t.Errorf("reports %+v, %v", reports, err)
	}
}
