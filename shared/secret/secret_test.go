package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// put writes a file whose mode is not the umask's.
func put(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestReadLine(t *testing.T) {
	t.Parallel()
	f := func(content string, want, wantErr string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "secret")
		put(t, path, content, 0o600)
		got, err := ReadLine(path)
		if got != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%.20q: got %q, %v; want %q, %q", content, got, err, want, wantErr)
		}
		if err != nil && len(content) > 5 && strings.Contains(err.Error(), content[:5]) {
			t.Errorf("the error has the secret: %v", err)
		}
	}
	f("hunter2", "hunter2", "")
	f("hunter2\n", "hunter2", "")
	f("hunter2\r\n", "hunter2", "")
	f(" with spaces ", " with spaces ", "")
	f("\ufeffhunter2\n", "hunter2", "") // a byte order mark, as some editors write it
	f("\ufeff", "", "is empty")
	f("\xff\xfeh\x00u\x00n\x00t\x00e\x00r\x00", "", "control character") // UTF-16
	f("", "", "is empty")
	f("\n", "", "is empty")
	f("\r\n", "", "is empty")
	f("hunter2\n\n", "", "control character or a second line")
	f("hunter2\nhunter3\n", "", "control character or a second line")
	f("hunter\t2", "", "control character")
	f("hunter\x002", "", "control character")
	f("hunter2\x7f", "", "control character")
	f(strings.Repeat("x", maxLine), strings.Repeat("x", maxLine), "")
	f(strings.Repeat("x", maxLine+1), "", "more than 16384 bytes")
}

// Whoever else may read, change or run the file, it is refused.
func TestRead_Mode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	for mode := range fs.FileMode(0o1000) {
		if mode&0o400 == 0 {
			continue // not even its owner, which only root does not notice
		}
		put(t, path, "hunter2", mode)
		want := mode == 0o600 || mode == 0o400
		if _, err := ReadLine(path); (err == nil) != want || err != nil && !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: got %v", mode, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRead_NoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none")
	if _, err := ReadLine(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if _, err := ReadLine(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: got %v", err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLine(path); err == nil || !strings.Contains(err.Error(), "it is a named pipe") {
		t.Errorf("a pipe: got %v", err)
	}
}

// systemd's credentials look as if a group could read them.
func TestRead_Credential(t *testing.T) {
	dir := t.TempDir()
	inside, outside, open := filepath.Join(dir, "token"), filepath.Join(t.TempDir(), "token"), filepath.Join(dir, "open")
	put(t, inside, "hunter2", 0o440)
	put(t, outside, "hunter2", 0o440)
	put(t, open, "hunter2", 0o444)
	f := func(credentials, path string, want bool) {
		t.Helper()
		t.Setenv("CREDENTIALS_DIRECTORY", credentials)
		if _, err := ReadLine(path); (err == nil) != want {
			t.Errorf("%q with credentials in %q: got %v", path, credentials, err)
		}
	}
	f(dir, inside, true)
	f(dir, open, false)
	f(dir, outside, false)
	f(dir, filepath.Join(dir, "..", filepath.Base(filepath.Dir(outside)), "token"), false)
	f("", inside, false)
	f(".", inside, false)
	f(dir+"/other", inside, false)

	// To another program than the service they are below systemd's folder.
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for path, want := range map[string]bool{
		"/run/credentials/belabox-shipperd.service/token": true,
		"/run/credentials/../token":                       false,
		"/etc/belabox-metrics/token":                      false,
	} {
		if got := IsCredential(path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
