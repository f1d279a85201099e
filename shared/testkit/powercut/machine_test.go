//go:build linux && (amd64 || arm64)

package powercut

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// cuts is how many cuts, with as many seeds, a test tries for what may happen.
const cuts = 60

func seeded(n int) *rand.Rand { return rand.New(rand.NewPCG(uint64(n), 0)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// syncPath is fsync of a file or folder.
func syncPath(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, errors.Join(f.Sync(), f.Close()))
}

func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	all := make([]string, len(list))
	for i, e := range list {
		all[i] = e.Name()
	}
	return strings.Join(all, " ")
}

func TestMachine_KeepsTheSynced(t *testing.T) {
	t.Parallel()
	m := New(t)
	dir := filepath.Join(m.Dir, "lib")
	must(t, os.Mkdir(dir, 0o750))
	syncPath(t, m.Dir)
	path := filepath.Join(dir, "file")
	want := bytes.Repeat([]byte("0123456789"), 1000)
	must(t, os.WriteFile(path, want, 0o640))
	syncPath(t, path)
	syncPath(t, dir)
	for n := range cuts {
		damage := m.Restart(seeded(n))
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) || damage != (Damage{}) {
			t.Fatalf("cut %d: %d bytes, %v, %+v; want what was synced and no damage", n, len(got), err, damage)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v; want 0640", info.Mode(), err)
	}
}

// TestMachine_ForgetsTheUnsynced overwrites a synced file, sector by sector, and
// sees over many cuts every fate that the package comment names, and no other.
func TestMachine_ForgetsTheUnsynced(t *testing.T) {
	t.Parallel()
	m := New(t)
	path := filepath.Join(m.Dir, "file")
	const sectors = 8
	before, after := bytes.Repeat([]byte{'a'}, sectors*sectorSize), bytes.Repeat([]byte{'b'}, sectors*sectorSize)
	fates := map[string]int{}
	for n := range cuts {
		must(t, os.WriteFile(path, before, 0o600))
		syncPath(t, path)
		syncPath(t, m.Dir)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.Write(after)
		must(t, errors.Join(err, f.Close()))
		m.Restart(seeded(n))
		got, err := os.ReadFile(path)
		must(t, err)
		if len(got) != len(before) {
			t.Fatalf("cut %d: %d bytes, want %d: the size was synced", n, len(got), len(before))
		}
		for sector := range slices.Chunk(got, sectorSize) {
			fates[fate(sector)]++
		}
		kept := bytes.Count(got, []byte{'b'})
		fates["out of order"] += min(1, bytes.Count(got[len(got)-sectorSize:], []byte{'b'})*bytes.Count(got[:sectorSize], []byte{'a'}))
		switch kept {
		case 0:
			fates["nothing kept"]++
		case len(got):
			fates["all kept"]++
		}
	}
	t.Log(fates)
	for _, want := range []string{"old", "new", "new then old", "old then new", "garbage", "out of order", "nothing kept", "all kept"} {
		if fates[want] == 0 {
			t.Errorf("%q never happened in %d cuts: %v", want, cuts, fates)
		}
	}
}

// fate names what became of a sector of a's that was overwritten with b's.
func fate(sector []byte) string {
	a, b := bytes.Count(sector, []byte{'a'}), bytes.Count(sector, []byte{'b'})
	switch {
	case a == len(sector):
		return "old"
	case b == len(sector):
		return "new"
	case a+b < len(sector)-100:
		return "garbage"
	case bytes.Equal(sector, append(bytes.Repeat([]byte{'b'}, b), bytes.Repeat([]byte{'a'}, a)...)):
		return "new then old"
	case bytes.Equal(sector, append(bytes.Repeat([]byte{'a'}, a), bytes.Repeat([]byte{'b'}, b)...)):
		return "old then new"
	}
	return "something else"
}

// TestMachine_PowersafeOverwrite: a write of some bytes of a sector costs no
// others, and an earlier version may come back, but never a mixture.
func TestMachine_PowersafeOverwrite(t *testing.T) {
	t.Parallel()
	m := New(t)
	path := filepath.Join(m.Dir, "file")
	versions := map[string]int{}
	for n := range cuts {
		must(t, os.WriteFile(path, bytes.Repeat([]byte{'-'}, sectorSize), 0o600))
		syncPath(t, path)
		syncPath(t, m.Dir)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		for i := range 3 {
			_, err := f.WriteAt([]byte{byte('1' + i)}, int64(100+i))
			must(t, err)
		}
		must(t, f.Close())
		m.Restart(seeded(n))
		got, err := os.ReadFile(path)
		must(t, err)
		if rest := string(got[:100]) + string(got[103:]); strings.Trim(rest, "-") != "" {
			t.Fatalf("cut %d: bytes changed that nobody wrote: %q", n, rest)
		}
		versions[string(got[100:103])]++
	}
	for _, want := range []string{"---", "1--", "12-", "123"} {
		if versions[want] == 0 {
			t.Errorf("version %q never came back: %v", want, versions)
		}
	}
	for got := range versions {
		if got[0] == '-' && strings.ContainsAny(got[1:], "23") {
			t.Errorf("%q: a later write to the sector was kept without an earlier one", got)
		}
	}
}

// TestMachine_Sizes: a file that grew and shrank has one of its sizes.
func TestMachine_Sizes(t *testing.T) {
	t.Parallel()
	m := New(t)
	path := filepath.Join(m.Dir, "file")
	sizes := map[int64]int{}
	for n := range cuts {
		must(t, os.WriteFile(path, make([]byte, 1000), 0o600))
		syncPath(t, path)
		syncPath(t, m.Dir)
		must(t, os.Truncate(path, 0))
		must(t, os.Truncate(path, 5000))
		m.Restart(seeded(n))
		info, err := os.Stat(path)
		must(t, err)
		sizes[info.Size()]++
	}
	if len(sizes) != 3 || sizes[0] == 0 || sizes[1000] == 0 || sizes[5000] == 0 {
		t.Errorf("sizes %v, want some of each: 0, 1000, 5000", sizes)
	}
}

// TestMachine_Names: fsync of a file does not keep its name; fsync of the folder
// keeps it, also without the file's content.
func TestMachine_Names(t *testing.T) {
	t.Parallel()
	m := New(t)
	lost, removed := 0, 0
	for n := range cuts {
		must(t, os.Mkdir(filepath.Join(m.Dir, "d"), 0o700))
		must(t, os.WriteFile(filepath.Join(m.Dir, "old"), nil, 0o600))
		syncPath(t, m.Dir)
		path := filepath.Join(m.Dir, "d", "new")
		must(t, os.WriteFile(path, []byte("x"), 0o600))
		syncPath(t, path)
		must(t, os.Remove(filepath.Join(m.Dir, "old")))
		m.Restart(seeded(n))
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			lost++
		} else if got, err := os.ReadFile(path); err != nil || string(got) != "x" {
			t.Fatalf("cut %d: the synced file has %q, %v", n, got, err)
		}
		if _, err := os.Stat(filepath.Join(m.Dir, "old")); errors.Is(err, fs.ErrNotExist) {
			removed++
		}
		must(t, os.RemoveAll(filepath.Join(m.Dir, "d")))
		syncPath(t, m.Dir)
	}
	if lost == 0 || lost == cuts || removed == 0 || removed == cuts {
		t.Errorf("of %d cuts, %d lost the new name and %d kept the removal; want some of both", cuts, lost, removed)
	}
}

// TestMachine_RenameIsWhole: the name is the one or the other, and the content
// comes along.
func TestMachine_RenameIsWhole(t *testing.T) {
	t.Parallel()
	m := New(t)
	seen := map[string]int{}
	for n := range cuts {
		must(t, os.WriteFile(filepath.Join(m.Dir, "a"), []byte("new"), 0o600))
		must(t, os.WriteFile(filepath.Join(m.Dir, "b"), []byte("old"), 0o600))
		syncPath(t, filepath.Join(m.Dir, "a"))
		syncPath(t, filepath.Join(m.Dir, "b"))
		syncPath(t, m.Dir)
		must(t, os.Rename(filepath.Join(m.Dir, "a"), filepath.Join(m.Dir, "b")))
		m.Restart(seeded(n))
		b, err := os.ReadFile(filepath.Join(m.Dir, "b"))
		must(t, err)
		seen[names(t, m.Dir)+": "+string(b)]++
	}
	if len(seen) != 2 || seen["a b: old"] == 0 || seen["b: new"] == 0 {
		t.Errorf("%v, want some of each: the state before and after", seen)
	}
}

// TestMachine_Cut: nothing changes any more, reading goes on, and what was seen
// can be saved.
func TestMachine_Cut(t *testing.T) {
	t.Parallel()
	m := New(t)
	path := filepath.Join(m.Dir, "file")
	must(t, os.WriteFile(path, []byte("before"), 0o600))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	m.Cut()
	<-m.Down()
	for what, err := range map[string]error{
		"write":  errOf(f.WriteAt([]byte("after"), 0)),
		"sync":   f.Sync(),
		"resize": f.Truncate(0),
		"create": os.WriteFile(path+"2", nil, 0o600),
		"mkdir":  os.Mkdir(path+"3", 0o700),
		"remove": os.Remove(path),
		"rename": os.Rename(path, path+"4"),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s without power: %v, want an input/output error", what, err)
		}
	}
	must(t, f.Close())
	to := filepath.Join(t.TempDir(), "saved")
	m.Save(to)
	if got, err := os.ReadFile(filepath.Join(to, "file")); err != nil || string(got) != "before" {
		t.Errorf("saved %q, %v; want what was written before the cut", got, err)
	}
	m.Restart(seeded(1))
	must(t, os.WriteFile(path, []byte("again"), 0o600))
}

func errOf(_ int, err error) error { return err }

// TestMachine_CutAt: the trap springs right before the request it waits for.
func TestMachine_CutAt(t *testing.T) {
	t.Parallel()
	m := New(t)
	path := filepath.Join(m.Dir, "file")
	f, err := os.Create(path)
	must(t, err)
	m.CutAt(3, func(op Op) bool { return op == Op{Write, "file"} })
	for i := range 5 {
		_, err := f.Write([]byte{'x'})
		if want := i >= 2; (err != nil) != want {
			t.Errorf("write %d: %v, want an error: %v", i+1, err, want)
		}
	}
	<-m.Down()
	must(t, f.Close())
	if got, err := os.ReadFile(path); err != nil || string(got) != "xx" {
		t.Errorf("%q, %v; want the two writes before", got, err)
	}
	m.Restart(seeded(1))
	must(t, os.WriteFile(path, []byte("xxxxx"), 0o600)) // the trap is gone with the cut
}

// TestMachine_BootID: whoever asks the kernel sees a new boot after each cut, within
// the test alone.
func TestMachine_BootID(t *testing.T) {
	t.Parallel()
	read := func() string {
		text, err := os.ReadFile(kernelBootID)
		must(t, err)
		return string(text)
	}
	kernels := read()
	m := New(t)
	first := read()
	m.Restart(seeded(1))
	if second := read(); first == kernels || second == first || len(second) != len(kernels) {
		t.Errorf("boot ids %q, %q and then %q; want three", kernels, first, second)
	}
}

// TestMachine_SameSeed: what happened before a cut and the seed decide what is left.
func TestMachine_SameSeed(t *testing.T) {
	t.Parallel()
	var images [2][]byte
	for i := range images {
		m := New(t)
		f, err := os.Create(filepath.Join(m.Dir, "file"))
		must(t, err)
		syncPath(t, m.Dir)
		for n := range 50 {
			_, err := f.WriteAt(bytes.Repeat([]byte{byte(n)}, 700), int64(n)*300)
			must(t, err)
		}
		must(t, f.Close())
		m.Restart(seeded(9))
		images[i], err = os.ReadFile(filepath.Join(m.Dir, "file"))
		must(t, err)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two cuts with one seed differ")
	}
}
