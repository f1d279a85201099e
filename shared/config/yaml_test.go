package config

import (
	"io"
	"strings"
	"testing"
)

type panickingReader struct{}

func (panickingReader) Read([]byte) (int, error) { panic("internal error") }

func TestReadDocuments_PanicIsAnError(t *testing.T) {
	t.Parallel()
	root, second, err := readDocuments(panickingReader{})
	if root != nil || second != 0 || err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("got %v, %d, %v; want an error alone", root, second, err)
	}
}

func TestLineReader(t *testing.T) {
	t.Parallel()
	lines := []string{"a: 1", "", strings.Repeat("x", 10_000)}
	r := &lineReader{lines: lines}
	p := make([]byte, 7)
	if n, err := r.Read(p); n != 5 || err != nil || r.served != 1 {
		t.Errorf("first read: got %d bytes, %v, %d lines served; want 5, nil, 1", n, err, r.served)
	}
	rest, err := io.ReadAll(r)
	if want := strings.Join(lines[1:], "\n") + "\n"; err != nil || string(rest) != want {
		t.Errorf("got %d bytes, %v; want %d", len(rest), err, len(want))
	}
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"kitten", "sitting", 3}, {"tmeout", "timeout", 1}} {
		if got := editDistance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q to %q: got %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0s", "10s", "1m", "1m10s", "24h", "10h", "1h0m10s", "1h30m", "100ms", "-1s"} {
		d, message := parseDuration(text)
		if got := short(d); message != "" || got != text {
			t.Errorf("got %q (%s), want %q", got, message, text)
		}
	}
}
