package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
)

const serviceUser = 1234

// visit is a data directory of the service's user that root visits.
type visit struct {
	t               *testing.T
	dir, db, secret string // secret: a directory of root's
	config          string
}

// emptyFile makes a database without samples.
func emptyFile(t *testing.T, db string) {
	t.Helper()
	in, err := store.OpenInserter(t.Context(), store.Options{Path: db, Daemon: "collectord"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newVisit(t *testing.T, vm *testkit.FakeVM) *visit {
	t.Helper()
	top := t.TempDir()
	v := &visit{t: t, dir: filepath.Join(top, "data"), secret: filepath.Join(top, "secret"), config: filepath.Join(top, "config.yaml")}
	v.db = filepath.Join(v.dir, "metrics.db")
	for _, err := range []error{
		os.Chmod(filepath.Dir(top), 0o755), os.Chmod(top, 0o755), os.Mkdir(v.dir, 0o750), os.Mkdir(v.secret, 0o700),
		os.WriteFile(v.config, []byte("storage: {path: "+v.db+"}\nremote: {url: '"+vm.ImportURL()+"', verify: {enabled: false, delay: 15s}}\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// hand gives everything in the directory to the service's user.
func (v *visit) hand() {
	v.t.Helper()
	err := filepath.WalkDir(v.dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, serviceUser, serviceUser))
	})
	if err != nil {
		v.t.Fatal(err)
	}
}

// run runs a command as root.
func (v *visit) run(args ...string) (code int, output string) {
	v.t.Helper()
	p := testkit.StartProc(v.t, testkit.Command{Path: testkit.Binaries(v.t).Shipperd, Args: append([]string{"-config", v.config}, args...)})
	code = p.Wait(testkit.WaitLimit)
	return code, p.Stdout() + p.Stderr()
}

// state describes every file of a directory, with its content.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := datafile.OwnerOf(info)
		files[e.Name()] = fmt.Sprintf("%v of %d", info.Mode(), uid)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] += ": " + string(text)
		}
	}
	return files
}

// ours fails the test if a file in the directory is not of the service's user.
func (v *visit) ours(what string) {
	v.t.Helper()
	for name, is := range state(v.t, v.dir) {
		if !strings.Contains(is, fmt.Sprintf(" of %d", serviceUser)) {
			v.t.Errorf("%s: %s is %.30s", what, name, is)
		}
	}
}

var looks = [][]string{{"status"}, {"audit"}, {"doctor"}, {"deadletter", "list"}, {"-check-config"}, {"-print-config"}}

// Root runs every command in the directory of the service's user: all files in it stay, and become,
// that user's.
func TestRoot_FilesStayWithTheirOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return
	}
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	v := newVisit(t, vm)
	pendingFile(t, v.db)
	v.hand()
	for _, command := range append(looks, []string{"deadletter", "retry", "all"}) {
		_, _ = v.run(command...)
		v.ours(strings.Join(command, " "))
	}
	code, out := v.run("-once")
	if n := len(vm.Stored()); n != 1 {
		t.Errorf("-once ended with %d, the server has %d samples, want 1\n%s", code, n, out)
	}
	v.ours("-once")
	for _, lock := range []string{".shipperd.lock", ".budget.lock", ".open.lock"} {
		if _, err := os.Lstat(v.db + lock); err != nil {
			t.Errorf("after -once: %v", err)
		}
	}
}

// ownNames are the files that the commands open beside the database.
var ownNames = []string{
	".shipperd.lock", ".collectord.lock", ".budget.lock", ".checkpoint.lock", ".open.lock", ".migrate.lock",
	".salvage", ".salvaging", ".damaged-20260101T000000Z.report", "-wal", "-shm", "-journal",
}

// The service's user plants links to files of root's, to files that root could make, and second
// names: none is read, changed, made or given away.
func TestRoot_FollowsNoLink(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return
	}
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	v := newVisit(t, vm)
	emptyFile(t, v.db)
	v.hand()
	precious := filepath.Join(v.secret, "precious")
	if err := os.WriteFile(precious, []byte("hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := state(t, v.secret)
	plant := map[string]func(name string) error{
		"link":     func(name string) error { return os.Symlink(precious, name) },
		"dangling": func(name string) error { return os.Symlink(filepath.Join(v.secret, "made"), name) },
		"hardlink": func(name string) error { return os.Link(precious, name) },
	}
	for what, plant := range plant {
		for _, name := range ownNames {
			kept := v.db + ".kept"
			if err := os.Rename(v.db+name, kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if err := plant(v.db + name); err != nil {
				t.Fatal(err)
			}
			for _, command := range [][]string{{"-once"}, {"status"}, {"doctor"}} {
				_, out := v.run(command...)
				if strings.Contains(out, "hunter2") {
					t.Errorf("%s %s, %q shows it: %s", what, name, command, out)
				}
			}
			if got := state(t, v.secret); fmt.Sprint(got) != fmt.Sprint(before) {
				t.Fatalf("%s %s: the directory of root's was\n%v\nand is\n%v", what, name, before, got)
			}
			_ = os.Remove(v.db + name) // it may have been moved away
			if err := os.Rename(kept, v.db+name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
}

// Nothing that stands in the place of a small file makes a command wait or eat memory: it ends with
// the name of the file, or without it.
func TestFiles_Odd(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	dir := t.TempDir()
	v := &visit{t: t, dir: dir, db: filepath.Join(dir, "metrics.db"), config: filepath.Join(dir, "config.yaml")}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(v.config, []byte("storage: {path: "+v.db+"}\nremote: {url: '"+vm.ImportURL()+"', auth_token_file: "+token+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	emptyFile(t, v.db)
	makes := map[string]func(string) error{
		"pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"100 MB": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 100<<20))
		},
	}
	f := func(what, path string, named bool, commands ...string) {
		t.Helper()
		kept := path + ".kept"
		if err := os.Rename(path, kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := makes[what](path); err != nil {
			t.Fatal(err)
		}
		for _, command := range commands {
			code, out := v.run(command)
			if named && (code == daemon.ExitOK || !strings.Contains(out, path)) {
				t.Errorf("%s for %s, %s: exit code %d, want a failure that names it:\n%s", what, path, command, code, out)
			}
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(kept, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for what := range makes {
		isFile := what == "100 MB"
		f(what, token, true, "doctor")
		f(what, v.db+".shipperd.lock", !isFile, "-once")
		f(what, v.db+".collectord.lock", !isFile, "status")
		f(what, v.db+".open.lock", !isFile, "-once")
		f(what, v.db+".damaged-20260101T000000Z.report", false, "status")
	}
	f("pipe", v.db+".salvage", true, "-once")
	f("directory", v.db+".salvage", true, "-once")
	f("pipe", v.config, true, "-check-config")
	f("100 MB", v.config, true, "-check-config")

	notice := func(want string) {
		t.Helper()
		if got := store.DamageNotice(v.db); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	report := v.db + ".damaged-20260101T000000Z.report"
	for what, make := range makes {
		if err := make(report); err != nil {
			t.Fatal(err)
		}
		notice(report)
		if err := os.RemoveAll(report); err != nil {
			t.Fatal(what, err)
		}
	}
}

// The advice to remove damaged files names those of the report, whatever the report says.
func TestFiles_ReportThatLies(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "metrics.db")
	aside := db + ".damaged-20260101T000000Z"
	text := []byte(`{"reason": "noise", "damaged_file": "/etc/"}`)
	for _, name := range []string{aside + ".report", db + ".damaged-x; reboot #.report"} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := store.DamagedFiles(db)
	if err != nil || len(files) != 1 || files[0].Aside != aside {
		t.Errorf("got %+v, %v, want one of %s", files, err, aside)
	}
}
