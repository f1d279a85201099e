package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// monitor looks at the files and the daemons during a soak.
type monitor struct {
	r       *rig
	wal, db peak

	collectord, shipperd usage
	lastFiles            time.Time
}

// peak is the most that a file's size was.
type peak struct{ most int64 }

// usage is what a daemon uses.
type usage struct {
	name string
	proc *testkit.Proc // nil = none is measured

	before, after endState // undisturbed, and after the soak
	filesMost     int

	start       time.Time
	lasted, cpu time.Duration // from the start to the end
	peakRSS     int64
}

// endState is what a daemon had open when it was ended.
type endState struct {
	files      []string
	goroutines []string // each with its stack
}

// What a daemon may have more than without faults: a connection or two that are about
// to be closed, with two goroutines each. A leak at each fault is far more.
//
// Goroutines that are about to run are not counted: database/sql starts one for each
// query, which ends with it, and on a busy processor dozens of them wait for their turn.
// What leaks is blocked.
const (
	moreFiles      = 3
	moreGoroutines = 6
)

func newMonitor(r *rig) *monitor {
	return &monitor{r: r, collectord: usage{name: "collectord"}, shipperd: usage{name: "shipperd"}}
}

// begin notes the start of a daemon.
func (g *usage) begin(p *testkit.Proc) { g.proc, g.start = p, time.Now() }

// look notes what is to be noted at its most. The peak of the memory is the
// kernel's own note, see finish.
func (w *monitor) look() {
	for path, p := range map[string]*peak{w.r.db: &w.db, w.r.db + "-wal": &w.wal} {
		if info, err := os.Stat(path); err == nil {
			p.most = max(p.most, info.Size())
		}
	}
	if time.Since(w.lastFiles) < time.Second {
		return
	}
	w.lastFiles = time.Now()
	for _, g := range []*usage{&w.collectord, &w.shipperd} {
		g.filesMost = max(g.filesMost, len(openFiles(g.proc.PID())))
	}
}

// finish notes what a daemon has used; it still runs.
func (g *usage) finish(t testing.TB) {
	t.Helper()
	u, err := g.proc.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if g.cpu, err = testkit.ReadCPUTime(g.proc.PID()); err != nil {
		t.Fatal(err)
	}
	g.lasted, g.peakRSS = time.Since(g.start), u.PeakRSS
}

// check fails the test where a daemon has more than without faults.
func (g *usage) check(t testing.TB) {
	t.Helper()
	f := func(what string, before, after []string, more int) {
		if len(before) == 0 || len(after) > len(before)+more {
			t.Errorf("%s: %d %s before the soak, %d after it; new are:\n%s",
				g.name, len(before), what, len(after), strings.Join(newOf(before, after), "\n"))
		}
	}
	f("open files", g.before.files, g.after.files, moreFiles)
	f("goroutines", g.before.goroutines, g.after.goroutines, moreGoroutines)
}

// openFiles lists what a process has open: paths, sockets, and what else proc(5)
// shows in /proc/PID/fd.
func openFiles(pid int) (names []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir) // a process that is gone has none
	for _, e := range entries {
		if name, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// newOf returns what after has more than before.
func newOf(before, after []string) (more []string) {
	had := map[string]int{}
	for _, s := range before {
		had[s]++
	}
	for _, s := range after {
		if had[s]--; had[s] < 0 {
			more = append(more, s)
		}
	}
	return more
}

var (
	goroutineHead = regexp.MustCompile(`(?m)^goroutine [1-9]\d* .*\[(.*?)(, .*)?\]:$`)
	stackNumbers  = regexp.MustCompile(`\(.*\)$| \+?0x.*$| in goroutine \d+$`)
)

// goroutines returns the stacks that the Go runtime appended to a log upon SIGQUIT: the
// state of each and its functions, of all goroutines that wait for something.
func goroutines(t testing.TB, log string) (stacks []string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndex(string(text), "SIGQUIT: quit")
	if last < 0 {
		t.Fatalf("%s: no stacks of goroutines at its end:\n%s", log, tail(string(text)))
	}
	for part := range strings.SplitSeq(string(text[last:]), "\n\n") {
		head := goroutineHead.FindStringSubmatch(part)
		if head == nil || head[1] == "runnable" || head[1] == "running" {
			continue
		}
		stack := []string{"[" + head[1] + "]"}
		for line := range strings.Lines(part) {
			// Indented are file and line; what calls what is enough, and is the same in two
			// processes.
			if line = strings.TrimRight(line, "\n"); !strings.HasPrefix(line, "\t") && !goroutineHead.MatchString(line) {
				stack = append(stack, stackNumbers.ReplaceAllString(line, ""))
			}
		}
		stacks = append(stacks, strings.Join(stack, " < "))
	}
	return stacks
}
