package human

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// hostile are characters that no output may contain.
var hostile = []rune{
	0, 7, 8, '\r', 0x1b, 0x7f, 0x80, 0x85, 0x9b, 0x9d, 0x9f, // C0, DEL, C1
	0xa0, 0xad, 0x34f, 0x61c, 0x115f, 0x17b4, 0x180e, 0x2000, 0x200b, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029,
	0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0x2800, 0x3000, 0x3164, 0xfe0f, 0xfeff, 0xffa0, 0xfff9, 0xe000, 0xe0001, 0xe0101, 0x10fffe,
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		if got := Printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	f("", "")
	f("eth0 Größe 温度 54 °C – ok…", "eth0 Größe 温度 54 °C – ok…")
	f("\x1b[2J\a", `\u001b[2J\u0007`)
	f(`\x1b[2J`, `\x1b[2J`)
	f("a\nb\tc", `a\u000ab\u0009c`)
	f("eth0\u200b", `eth0\u200b`)
	f("a\xffb\uFFFDc", "a\\xffb\uFFFDc")
	f("\xe2\x80", `\xe2\x80`)
	f("\U000e0001", `\udb40\udc01`)
	for _, r := range hostile {
		got := Printable("a" + string(r) + "b")
		if strings.ContainsRune(got, r) || !strings.HasPrefix(got, `a\u`) || !strings.HasSuffix(got, "b") {
			t.Errorf("%U: got %q", r, got)
		}
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	if got := Excerpt(strings.Repeat("é", 1000)); got != strings.Repeat("é", excerptMost/2)+"..." {
		t.Errorf("got %q", got)
	}
	if got := Excerpt("x" + strings.Repeat("é", 1000)); !utf8.ValidString(got) {
		t.Errorf("cut in the middle of a character: %q", got)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	all := "a\nb\tc\"\\/<&>" + string(hostile) + "é\U0001F600"
	body, err := json.MarshalIndent(map[string]any{all: []string{all, "\xff"}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for _, lines := range []bool{false, true} {
		var got map[string][]string
		if err := json.Unmarshal(JSON(body, lines), &got); err != nil {
			t.Fatal(err)
		}
		want := `a\nb\tc"\/<&>`
		if lines {
			want = "a\nb\tc\"\\/<&>"
		}
		for key, values := range got {
			for _, text := range []string{key, values[0]} {
				if !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "é\U0001F600") || strings.ContainsAny(text, string(hostile)) {
					t.Errorf("lines %v: got %q", lines, text)
				}
			}
		}
	}
	if got := JSON([]byte("{\n  \"a\": 1\n}\n"), false); string(got) != "{\n  \"a\": 1\n}\n" {
		t.Errorf("got %q", got)
	}
}

// TestOutput_JSON: JSON stays JSON with the same content.
func TestOutput_JSON(t *testing.T) {
	t.Parallel()
	want := "a\x7f" + string(hostile)
	body, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := Output(&out, nil).Write(body); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != want || strings.ContainsAny(out.String(), string(hostile)) {
		t.Errorf("%v: got %q of %q", err, got, out.String())
	}
}

// TestOutput_Pieces: characters that arrive in pieces stay whole, edits come first, errors are
// passed on.
func TestOutput_Pieces(t *testing.T) {
	t.Parallel()
	text := "é\U0001F600\x1b[2J\u202e\xff…\n\t" + string(hostile) + "\n"
	var whole, pieces bytes.Buffer
	if n, err := Output(&whole, nil).Write([]byte(text)); n != len(text) || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	out := Output(&pieces, nil)
	if _, err := io.Copy(struct{ io.Writer }{out}, iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	if want := PrintableBut(text, "\n\t"); whole.String() != want || pieces.String() != want {
		t.Errorf("got  %q\nand  %q\nwant %q", whole.String(), pieces.String(), want)
	}
	var edited bytes.Buffer
	if _, err := Output(&edited, strings.ToUpper).Write([]byte("a\x1b")); err != nil || edited.String() != `A\u001b` {
		t.Errorf("got %q, %v", edited.String(), err)
	}
	if _, err := Output(brokenPipe{}, nil).Write([]byte("a")); err == nil {
		t.Error("a broken pipe is no error")
	}
	if Terminal(Output(&edited, nil)) != nil {
		t.Error("a buffer is a terminal")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range Printable(text) {
			if !IsPrintable(r) {
				t.Errorf("%q: %U is left", text, r)
			}
		}
		body, err := json.Marshal(map[string]string{text: text})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(JSON(body, false), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for key, value := range got {
			for _, r := range key + value {
				if !IsPrintable(r) {
					t.Errorf("%q: %U is left in %q", text, r, value)
				}
			}
		}
	})
}
