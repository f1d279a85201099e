package e2e

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

// TestStorage_FilesTouched removes and replaces files under both daemons. Both tell it, open the
// database again by themselves, and what was committed is there then.
func TestStorage_FilesTouched(t *testing.T) {
	t.Parallel()
	remove := func(suffixes ...string) func(*rig) error {
		return func(r *rig) (err error) {
			for _, s := range suffixes {
				err = errors.Join(err, os.Remove(r.db+s))
			}
			return err
		}
	}
	for name, c := range map[string]struct {
		do   func(r *rig) error
		want string
		keep bool // the rows are in the database afterwards
	}{
		"database removed": {remove(""), "it was removed", true},
		"database replaced": {func(r *rig) error {
			return errors.Join(os.WriteFile(r.db+".other", nil, 0o640), os.Rename(r.db+".other", r.db))
		}, "it was replaced by another file", false},
		"WAL removed":         {remove("-wal"), "its wal file was removed", true},
		"all of it removed":   {remove("", "-wal", "-shm"), "it was removed", true},
		"WAL and shm removed": {remove("-wal", "-shm"), "its wal file was removed", true},
		// What "rm metrics.db*" takes along: the locks.
		"all that has its name removed": {func(r *rig) error {
			names, err := filepath.Glob(r.db + "*")
			for _, name := range names {
				err = errors.Join(err, os.Remove(name))
			}
			return err
		}, "it was removed", true},
		"folder removed": {func(r *rig) error { return os.RemoveAll(filepath.Dir(r.db)) }, "it was removed", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vm := testkit.StartVM(t, testkit.VMConfig{})
			r := on(t, vm, filepath.Join(t.TempDir(), "var"))
			p := r.startBoth()
			r.awaitUploads(50)
			committed := r.count("SELECT count(*) FROM metrics")
			start := time.Now()
			if err := c.do(r); err != nil {
				t.Fatal(err)
			}
			p.each(func(name string, proc *testkit.Proc) {
				testkit.Eventually(t, testkit.WaitLimit, name+" to tell what happened and to work again", func() bool {
					// The slower of them may meet the file that the other one has made by then.
					told := strings.Contains(proc.Stderr(), c.want) || strings.Contains(proc.Stderr(), "it was replaced by another file")
					return told && strings.Count(proc.Stderr(), name+" started") == 2
				})
			})
			t.Logf("both work again %v after it", time.Since(start))
			r.awaitUploads(50)
			if now := r.count("SELECT count(*) FROM metrics"); c.keep && now < committed {
				t.Errorf("%d rows, %d were committed", now, committed)
			}
			d := r.settle(vm, p)
			if c.keep && d.extra > 0 {
				t.Errorf("%v\n%s", &d, d.few())
			}
		})
	}
}

// damage overwrites places of a file with noise.
func damage(t *testing.T, path string, seed uint64, places int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(seed, 0))
	for range places {
		noise := make([]byte, 1024)
		for i := range noise {
			noise[i] = byte(dice.Uint32())
		}
		if _, err := f.WriteAt(noise, dice.Int64N(max(1, info.Size()/1024))*1024); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStorage_Damaged damages the files of daemons that were killed. They start
// again, whoever is first, and deliver what can be read, once.
func TestStorage_Damaged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		orderly bool // they were stopped, so that all stands in the database
		do      func(t *testing.T, r *rig, seed uint64)
	}{
		"header":    {true, func(t *testing.T, r *rig, _ uint64) { overwriteHead(t, r.db) }},
		"WAL":       {false, func(t *testing.T, r *rig, seed uint64) { damage(t, r.db+"-wal", seed, 3) }},
		"WAL head":  {false, func(t *testing.T, r *rig, _ uint64) { overwriteHead(t, r.db+"-wal") }},
		"truncated": {true, func(t *testing.T, r *rig, _ uint64) { cutOff(t, r.db) }},
		"pages": {true, func(t *testing.T, r *rig, seed uint64) {
			damage(t, r.db, seed, 5)
			overwriteHead(t, r.db)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vm := testkit.StartVM(t, testkit.VMConfig{})
			r := newRig(t, vm.ImportURL(), map[string]string{"logging": "level: info"})
			p := r.startBoth()
			r.awaitUploads(300)
			p.each(func(_ string, proc *testkit.Proc) {
				if c.orderly {
					r.stopDaemon(proc)
				} else {
					proc.Kill()
				}
			})
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			c.do(t, r, seed)
			p = r.startBoth()
			for _, address := range []string{p.collector, p.shipper} {
				message := awaitReason(t, address, "database_damaged")
				if !strings.Contains(message, r.db+".damaged-") || !strings.Contains(message, "remove ") {
					t.Errorf("the report says %q", message)
				}
			}
			r.awaitUploads(50)
			doctor := r.start(r.bins.Shipperd, "doctor")
			doctor.Wait(testkit.WaitLimit)
			if !strings.Contains(doctor.Stdout(), r.db+".damaged-") {
				t.Errorf("the doctor does not name the damaged file:\n%s", doctor.Stdout())
			}
			d := r.settle(vm, p)
			l := r.ledger()
			t.Logf("%v; ledger %v", &d, l)
			files, err := filepath.Glob(r.db + ".damaged-*")
			if err != nil || len(files) < 2 {
				t.Errorf("kept: %q, %v", files, err)
			}
		})
	}
}

// cutOff leaves two thirds of a file.
func cutOff(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()*2/3)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestStorage_DamagedInUse damages the database under both daemons. Whoever meets it tells the
// other one, one of them salvages, and both go on.
func TestStorage_DamagedInUse(t *testing.T) {
	t.Parallel()
	vm := testkit.StartVM(t, testkit.VMConfig{})
	r := newRig(t, vm.ImportURL(), map[string]string{"logging": "level: info"})
	p := r.startBoth()
	r.awaitUploads(100)
	r.stopDaemon(p.collectord) // brings all into the database
	damage(t, r.db, 1, 200)    // each of its pages, most likely
	p.collectord = r.start(r.bins.Collectord)
	testkit.Eventually(t, testkit.WaitLimit, "both daemons to work with a salvaged database", func() bool {
		return strings.Contains(p.collectord.Stderr()+p.shipperd.Stderr(), "database salvaged") && len(p.reports(r)) > 0
	})
	r.awaitUploads(50)
	r.settle(vm, p)
}

// reports are the reports on damaged files.
func (p pair) reports(r *rig) []string {
	files, err := filepath.Glob(r.db + ".damaged-*.report")
	if err != nil {
		r.t.Fatal(err)
	}
	return files
}

func overwriteHead(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(strings.Repeat("\xa5", 100)), 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
