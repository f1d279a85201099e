package datafile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const limit = 100

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// odd makes a file of each kind that is not a regular one, none of which may be waited for.
func odd(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	paths := map[string]string{}
	name := func(what string) string {
		paths[what] = filepath.Join(dir, what)
		return paths[what]
	}
	write(t, filepath.Join(dir, "regular"), "x")
	socket, err := net.Listen("unix", name("a device or socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	for _, err := range []error{
		os.Symlink("regular", name("a symbolic link")),
		os.Mkdir(name("a directory"), 0o700),
		syscall.Mkfifo(name("a named pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

func TestOpen_NotRegular(t *testing.T) {
	t.Parallel()
	for what, path := range odd(t) {
		for name, flag := range map[string]int{"read": os.O_RDONLY, "write": os.O_WRONLY, "make": os.O_RDWR | os.O_CREATE} {
			f, err := Open(path, flag, 0o600)
			if !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "it is "+what) {
				t.Errorf("%s %s: got %v, %v", name, what, f, err)
			}
		}
		if err := Check(path); !errors.Is(err, ErrNotRegular) {
			t.Errorf("check %s: got %v", what, err)
		}
		if _, err := Read(path, limit); !errors.Is(err, ErrNotRegular) {
			t.Errorf("read %s: got %v", what, err)
		}
		_, err := ReadNamed(path, limit)
		switch what {
		case "a symbolic link": // the administrator's
			if err != nil {
				t.Errorf("named %s: got %v", what, err)
			}
		case "a device or socket": // sockets do not open at all
			if err == nil {
				t.Errorf("named %s: no error", what)
			}
		default:
			if !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), path) {
				t.Errorf("named %s: got %v", what, err)
			}
		}
	}
}

// A link that leads nowhere makes no file where it leads to.
func TestOpen_DanglingLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, os.O_RDWR|os.O_CREATE, 0o600); !errors.Is(err, ErrNotRegular) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the target: %v", err)
	}
}

func TestOpen_Regular(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if _, err := Open(path, os.O_RDWR, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	f, err := Open(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Repeat("x", limit)); err != nil {
		t.Fatal(err)
	}
	if text, err := Read(path, limit); err != nil || len(text) != limit {
		t.Errorf("got %d bytes, %v", len(text), err)
	}
	if err := f.Truncate(100 << 20); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(string, int64) ([]byte, error){"Read": Read, "ReadNamed": ReadNamed} {
		if text, err := read(path, limit); text != nil || !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s of 100 MB: got %d bytes, %v", name, len(text), err)
		}
	}
}

func TestCheck_Owner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root can make files of others
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "")
	f := func(folder, file int, want error) {
		t.Helper()
		if err := errors.Join(os.Chown(dir, folder, folder), os.Chown(path, file, file)); err != nil {
			t.Fatal(err)
		}
		if err := Check(path); !errors.Is(err, want) {
			t.Errorf("directory of %d, file of %d: got %v, want %v", folder, file, err, want)
		}
	}
	f(0, 0, nil)
	f(1234, 0, nil)
	f(1234, 1234, nil)
	f(0, 1234, ErrForeign)
	f(1234, 1235, ErrForeign)
	if err := Check(path); err == nil || !strings.HasSuffix(err.Error(), "run as root: find "+path+" -maxdepth 0 -type f -links 1 -exec chown -h 1234:1234 {} +") {
		t.Errorf("got %v", err)
	}
	// Any file of root may have a second name in the directory of another.
	f(1234, 1234, nil)
	if err := os.Link(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	f(1234, 0, ErrForeign)
	f(1234, 1234, ErrForeign)
	f(0, 0, nil)
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	f(0, 0, ErrForeign)
}

func TestUserOf(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root can make files of others
	}
	top := t.TempDir()
	a, b := filepath.Join(top, "a"), filepath.Join(top, "a", "b")
	if err := os.MkdirAll(b, 0o755); err != nil {
		t.Fatal(err)
	}
	f := func(path string, want uint32) {
		t.Helper()
		uid, gid, err := UserOf(path)
		if err != nil || uid != want || gid != want {
			t.Errorf("%s: got %d, %d, %v; want %d", path, uid, gid, err, want)
		}
	}
	give := func(path string, uid int) {
		t.Helper()
		if err := os.Lchown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	db := filepath.Join(b, "metrics.db")
	f(db, 0)
	f(filepath.Join(b, "not", "yet", "metrics.db"), 0)
	give(b, 1234)
	f(db, 1234)
	f(filepath.Join(b, "not", "yet", "metrics.db"), 1234)
	// A directory of root below one of another is that of the other.
	give(a, 1235)
	f(db, 1234)
	give(b, 0)
	f(db, 1235)
	give(a, 0)
	f(db, 0)
	// A link of another leads to root's directory.
	link := filepath.Join(top, "link")
	if err := os.Symlink(b, link); err != nil {
		t.Fatal(err)
	}
	f(filepath.Join(link, "metrics.db"), 0)
	give(link, 1236)
	f(filepath.Join(link, "metrics.db"), 1236)
	// So does a link of another that a link of root leads to.
	outer := filepath.Join(top, "outer")
	if err := os.Symlink("link/../../link", outer); err != nil {
		t.Fatal(err)
	}
	f(filepath.Join(outer, "metrics.db"), 1236)
	if err := os.Remove(outer); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("outer", outer); err != nil {
		t.Fatal(err)
	}
	if _, _, err := UserOf(filepath.Join(outer, "metrics.db")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a loop: got %v", err)
	}
	// A directory that root shares.
	write(t, db, "")
	give(db, 1237)
	f(db, 0)
	if err := os.Chmod(b, 0o770); err != nil {
		t.Fatal(err)
	}
	f(db, 1237)
}

func TestAdvice(t *testing.T) {
	t.Parallel()
	f := func(path, want string) {
		t.Helper()
		if got := Quote(path); got != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
	f("/var/lib/belabox-metrics/metrics.db-wal", "/var/lib/belabox-metrics/metrics.db-wal")
	f("/x/a b", "'/x/a b'")
	f("/x/it's", `'/x/it'\''s'`)
	f("/x/$(reboot)", "'/x/$(reboot)'")
	f("/x/*", "'/x/*'")
	f("", "''")

	if os.Geteuid() != 0 {
		return // only root can make directories of others
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x y")
	if got, want := AsOwner(path, "chmod 600 X"), "chmod 600 X"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for uid, want := range map[int]string{1234: "setpriv --reuid=1234 --regid=1234 --clear-groups -- chmod 600 X", 65534: "runuser -u nobody -- chmod 600 X"} {
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
		if got := AsOwner(path, "chmod 600 X"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, want := GiveToOwner(path, path), "find '"+path+"' -maxdepth 0 -type f -links 1 -exec chown -h "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q...", got, want)
	}
}

// TestAdvice_Typed runs the advice that root gets about files in a directory of another, who has
// put links and second names of files of root's there.
func TestAdvice_Typed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root can give files away
	}
	top := t.TempDir()
	dir, victim := filepath.Join(top, "data"), filepath.Join(top, "victim")
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, victim, "of root")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 1234, 1234), os.Symlink(victim, path("link")), os.Link(victim, path("second"))); err != nil {
		t.Fatal(err)
	}
	owner := func(path string) uint32 {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := OwnerOf(info)
		return uid
	}
	for what, advice := range map[string]string{
		"file":   GiveToOwner(path("metrics.db"), path("it's"), path("link"), path("second"), path("none")),
		"folder": GiveFolder(dir, "1234"),
	} {
		write(t, path("it's"), "")
		if err := os.Chown(path("it's"), 0, 0); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.CommandContext(t.Context(), "sh", "-c", advice).CombinedOutput() // one file is missing
		if owner(path("it's")) != 1234 || owner(victim) != 0 {
			t.Errorf("%s: %s: the file is of %d, want 1234, and that of root of %d; %s", what, advice, owner(path("it's")), owner(victim), out)
		}
	}
}
