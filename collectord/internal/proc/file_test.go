package proc

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFile_SeesEachNewContent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	for name, f := range map[string]*File{"records": NewFile(path), "single": NewSingle(path)} {
		// The buffer starts at 512 bytes: at its edges, over it, and shorter again.
		for _, size := range []int{0, 1, 511, 512, 513, 1024, 100_000, 3} {
			want := bytes.Repeat([]byte("x"), size)
			if err := os.WriteFile(path, want, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := f.Read(); !bytes.Equal(got, want) || err != nil {
				t.Errorf("%s: read %d bytes, %v, want %d", name, len(got), err, size)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

func TestFile_ComesBackAfterAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	f := NewFile(path)
	if _, err := f.Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Read(); string(got) != "1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	folder := NewFile(dir)
	if _, err := folder.Read(); err == nil {
		t.Error("reading a folder gives no error")
	} else if pe, ok := errors.AsType[*os.PathError](err); !ok || pe.Path != dir {
		t.Errorf("error %v does not name the file", err)
	}
	if folder.f != nil {
		t.Error("still open after an error, so it would never be opened anew")
	}
}

func TestFile_RefusesEndlessContent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, maxFileSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := NewFile(path).Read(); err == nil {
		t.Error("no error")
	}
}

func TestFile_ReadAllocatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*File{"records": NewFile(path), "single": NewSingle(path)} {
		if n := testing.AllocsPerRun(100, func() { _, _ = f.Read() }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}
