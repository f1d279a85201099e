package store

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"belabox-metrics/shared/testkit"
)

// TestMigrate_ProcessesAtOnce starts several processes on one file at the same
// moment. All succeed, whatever they find.
func TestMigrate_ProcessesAtOnce(t *testing.T) {
	t.Parallel()
	const processes = 3
	f := func(name string, version int) {
		for round := range 3 {
			t.Run(fmt.Sprintf("%s/%d", name, round), func(t *testing.T) {
				t.Parallel()
				path := newPath(t)
				var rows []oldRow
				if version > 0 {
					rows = makeOld(t, path, version)
				}
				gate := filepath.Join(t.TempDir(), "gate")
				if err := syscall.Mkfifo(gate, 0o600); err != nil {
					t.Fatal(err)
				}
				var children []*testkit.Proc
				for range processes {
					children = append(children, startJob(t, "migrate-at-gate", path, gate))
				}
				for _, c := range children {
					c.WaitLine(testkit.WaitLimit, "ready")
				}
				// A FIFO opens when both ends are there: this lets all of them go.
				open, err := os.OpenFile(gate, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer open.Close()
				for _, c := range children {
					if code := c.Wait(testkit.WaitLimit); code != 0 {
						t.Errorf("exit code %d: %s", code, c.Stderr())
					}
				}
				db := rawDB(t, path)
				if got := queryInt(t, db, "SELECT count(*) FROM sessions WHERE daemon = 'test' AND clean"); got != processes {
					t.Errorf("%d sessions, want %d", got, processes)
				}
				if version > 0 {
					mustExec(t, db, "DELETE FROM sessions WHERE daemon = 'test'")
					checkUpgraded(t, db, version, rows)
				}
			})
		}
	}
	f("no file", 0)
	f("v1", 1)
	f("v5", 5)
}

// migrateAtGate opens the file as a daemon does, once the FIFO arg opens.
func migrateAtGate(path, arg string) error {
	fmt.Println("ready")
	gate, err := os.Open(arg)
	if err != nil {
		return err
	}
	defer gate.Close()
	ob, err := OpenOutbox(background, options(path))
	if err != nil {
		return err
	}
	return ob.Close(background)
}
