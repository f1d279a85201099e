package testkit

import (
	"os"
	"strings"
	"testing"
)

func TestGolden(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(text string) {
		t.Helper()
		*update = true
		defer func() { *update = false }()
		Golden(t, "deep/x.txt", []byte(text))
	}
	f := func(got, want string) {
		t.Helper()
		message := failure(t, func(t testing.TB) { Golden(t, "deep/x.txt", []byte(got)) })
		if want == "" && message != "" || !strings.Contains(message, want) {
			t.Errorf("Golden(%q) says %q, want %q", got, message, want)
		}
	}
	f("a\n", "write it with -update")
	write("a\nb\n")
	if text, err := os.ReadFile("testdata/deep/x.txt"); err != nil || string(text) != "a\nb\n" {
		t.Errorf("wrote %q, %v", text, err)
	}
	f("a\nb\n", "")
	f("a\nc\n", `testdata/deep/x.txt:2: got "c\n", want "b\n"`)
	f("a\nb", `x.txt:2: got "b", want "b\n"`)
	f("a\n", `x.txt:2: got "", want "b\n"`)
	f("a\nb\nc", `x.txt:3: got "c", want ""`)
	f("a\nb\n\n", `x.txt:3: got "\n", want ""`)
}
