package logx

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"belabox-metrics/shared/human"
)

type hostileText string

func (h hostileText) LogValue() slog.Value         { return slog.StringValue(string(h)) }
func (h hostileText) MarshalText() ([]byte, error) { return []byte(h), nil }

// TestNew_NothingHostile: whatever a record holds, in whatever way, a line has only printable
// characters; also the four characters \x1b, which a handler must not decode.
func TestNew_NothingHostile(t *testing.T) {
	t.Parallel()
	const text = "a\x1b[2J\x9b2J\u009b\x7f\u202e\u200b\ufeff\u3164\u2800\xff\r\x00 \\x1b[2J"
	for _, format := range []string{"json", "console"} {
		var buf bytes.Buffer
		log, err := New(&buf, "debug", format)
		if err != nil {
			t.Fatal(err)
		}
		log.With(text, text).WithGroup(text).Error(text, text, text, "list", []string{text}, "any", struct{ A any }{text},
			"map", map[string]string{text: text}, "bytes", []byte(text), "error", errors.New(text), "valuer", hostileText(text),
			"group", slog.GroupValue(slog.String(text, text)), "pointer", &struct{ B string }{text}, "wrapped", fmt.Errorf("x: %w", errors.New(text)), Err(errors.New(text)))
		line, rest, _ := strings.Cut(buf.String(), "\n")
		if rest != "" {
			t.Errorf("%s: more than one line: %q", format, buf.String())
		}
		for _, r := range line {
			if !human.IsPrintable(r) {
				t.Errorf("%s: %U in %q", format, r, line)
			}
		}
		if !strings.Contains(line, "[2J") {
			t.Errorf("%s: the text is not there: %q", format, line)
		}
	}
}

// TestColouredLine: the only control sequences on a terminal are those for time and level.
func TestColouredLine(t *testing.T) {
	t.Parallel()
	var r slog.Record
	r.Level, r.Message = slog.LevelWarn, "a\x1b[2J"
	got := string(colouredLine(r, []byte("b=\x1b[31m\\x1b[2J\n")))
	want := "\x1b[2m0001-01-01 00:00:00.000\x1b[0m \x1b[93mWRN\x1b[0m a\\u001b[2J b=\\u001b[31m\\x1b[2J\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestNew_LongTexts: a text is redacted first and cut then, so that no part of a secret stays.
func TestNew_LongTexts(t *testing.T) {
	t.Parallel()
	secrets := new(Secrets)
	secrets.Add("a-very-secret-token")
	for _, format := range []string{"json", "console"} {
		for n := range 30 {
			var buf bytes.Buffer
			log, err := New(secrets.Writer(&buf), "debug", format)
			if err != nil {
				t.Fatal(err)
			}
			log.Error("m", Err(errors.New(strings.Repeat("x", textMost-n)+"a-very-secret-token"+strings.Repeat("y", 1<<20))))
			if got := buf.String(); strings.Contains(got, "a-ve") || len(got) > textMost+300 {
				t.Errorf("%s, %d: %d bytes, the end %q", format, n, len(got), got[max(0, len(got)-80):])
			}
		}
	}
}
