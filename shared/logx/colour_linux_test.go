package logx

import (
	"io"
	"os"
	"testing"
)

func TestColour_OnTerminals(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	f := func(w io.Writer, key, value string, want bool) {
		t.Helper()
		env := func(k string) string { return map[string]string{key: value}[k] }
		if got := colour(w, env); got != want {
			t.Errorf("%T, %s=%q: got %v, want %v", w, key, value, got, want)
		}
	}
	f(terminal, "TERM", "xterm", true)
	f(terminal, "TERM", "dumb", false)
	f(terminal, "NO_COLOR", "", true)
	f(terminal, "NO_COLOR", "1", false)
	f(new(Secrets).Writer(terminal), "TERM", "xterm", true)
}
