package tokens

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func sum(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse("# comment\n\n a " + sum("t1") + "\r\nb\t" + strings.ToUpper(sum("t2")) + "\n  #x y z\nb " + sum("t3") + "\nold " + sum("t1"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(token string, want ...string) {
		t.Helper()
		if got := s.Devices(token); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", token, got, want)
		}
	}
	f("t1", "a", "old")
	f("t2", "b")
	f("t3", "b")
	f("")
	f("t")
	f("t11")
	f(sum("t1")) // the hash is no token
	if s.Len() != 3 {
		t.Errorf("got %d tokens, want 3", s.Len())
	}
}

func TestParse_Faults(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error has the secret: %v", err)
		}
	}
	good := "a " + sum("t") + "\n"
	f("a", "line 1: want a device id and a hash")
	f(good+"a b c", "line 2: want")
	f("a hunter2", "line 1: the second word is not a SHA-256")
	f("a "+sum("t")[1:], "line 1: the second word")
	f("a/b "+sum("t"), "line 1: the device id")
	f(strings.Repeat("x", 129)+" "+sum("t"), "line 1: the device id")
	f(good+good, "line 2: the same line stands twice")
}

func TestNew(t *testing.T) {
	t.Parallel()
	first, line, err := New("encoder-07")
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := New("encoder-07")
	if err != nil || first == second || len(first) < 40 {
		t.Errorf("got %d characters; the second is the same: %v; %v", len(first), first == second, err)
	}
	s, err := Parse(line)
	if err != nil || !slices.Equal(s.Devices(first), []string{"encoder-07"}) {
		t.Errorf("%s: %v", line, err)
	}
	if _, _, err := New("no good"); err == nil {
		t.Error("a bad device id was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a " + sum("t"))
	f.Add("# x\n\na b\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		for _, list := range s.entries {
			for _, e := range list {
				if !slices.IsSorted(e.devices) || len(e.devices) == 0 || slices.ContainsFunc(e.devices, func(d string) bool { return !ValidDevice(d) }) {
					t.Errorf("devices %q", e.devices)
				}
			}
		}
	})
}

// file is a tokens file with a clock that the test moves.
type file struct {
	*File
	t    *testing.T
	log  bytes.Buffer
	time time.Time
}

func open(t *testing.T, text string) *file {
	t.Helper()
	f := &file{t: t, time: time.Now()}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.File, err = Open(path, slog.New(slog.NewTextHandler(&f.log, nil))); err != nil {
		t.Fatal(err)
	}
	f.now = func() time.Time { return f.time }
	return f
}

func (f *file) replace(text string, mode os.FileMode) {
	f.t.Helper()
	next := f.path + ".new"
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Chmod(next, mode), os.Rename(next, f.path)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *file) want(good, bad string) {
	f.t.Helper()
	f.time = f.time.Add(lookEvery)
	if len(f.Devices(good)) == 0 || len(f.Devices(bad)) > 0 {
		f.t.Errorf("want %s to be good and %s bad; log:\n%s", good, bad, f.log.String())
	}
}

func TestFile_Reload(t *testing.T) {
	t.Parallel()
	f := open(t, "a "+sum("t1"))
	f.want("t1", "t2")
	f.replace("a "+sum("t2"), 0o640)
	f.want("t2", "t1")
	if f.Err() != nil || !strings.Contains(f.log.String(), "tokens file read again") {
		t.Errorf("got %v; log:\n%s", f.Err(), f.log.String())
	}
}

// What is wrong with a new file is said once, and the old tokens stay until it is mended.
func TestFile_BadReload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(f *file)
		want  string
	}{
		"syntax": {func(f *file) { f.replace("a hunter2", 0o600) }, "line 1"},
		"mode":   {func(f *file) { f.replace("a "+sum("t2"), 0o644) }, "chmod 600"},
		"gone":   {func(f *file) { _ = os.Remove(f.path) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, "a "+sum("t1"))
			c.spoil(f)
			for range 3 {
				f.want("t1", "t2")
			}
			if err := f.Err(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := strings.Count(f.log.String(), "cannot be used"); got != 1 {
				t.Errorf("it was said %d times:\n%s", got, f.log.String())
			}
			f.replace("a "+sum("t3"), 0o600)
			f.want("t3", "t1")
			if f.Err() != nil {
				t.Errorf("mended: %v", f.Err())
			}
		})
	}
}

func TestOpen_Faults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	if _, err := Open(path, slog.Default()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	if err := os.WriteFile(path, []byte("a x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, slog.Default()); err == nil || !strings.Contains(err.Error(), path+": line 1") {
		t.Errorf("bad file: got %v", err)
	}
}

func BenchmarkDevices(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "device-%d %s\n", i, sum(fmt.Sprint("token", i)))
	}
	s, err := Parse(text.String())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Devices("token5000")
	}
}
