package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadLine(t *testing.T) {
	t.Parallel()
	f := func(content string, mode os.FileMode, want, wantErr string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
		got, err := ReadLine(path)
		if got != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%.20q, %04o: got %q, %v; want %q, %q", content, mode, got, err, want, wantErr)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error has the secret: %v", err)
		}
	}
	f("hunter2", 0o600, "hunter2", "")
	f("hunter2\n", 0o400, "hunter2", "")
	f("hunter2\r\n", 0o640, "hunter2", "")
	f(" hunter2 ", 0o440, " hunter2 ", "")
	f("hunter2", 0o644, "", "chmod 600")
	f("hunter2", 0o604, "", "mode 0604")
	f("hunter2", 0o620, "", "mode 0620")
	f("hunter2", 0o601, "", "mode 0601")
	f("", 0o600, "", "is empty")
	f("\n", 0o600, "", "is empty")
	f("hunter2\nmore", 0o600, "", "second line")
	f("hunter2\x00", 0o600, "", "control character")
	f("hunter2"+strings.Repeat("x", maxLine), 0o600, "", "larger than")
	if _, err := ReadLine(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a folder: got %v", err)
	}
	if _, err := ReadLine(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("no file: got %v", err)
	}
}
