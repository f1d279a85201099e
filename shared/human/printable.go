package human

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"
)

// IsPrintable decides for every output what may be shown as it is: letters, marks, numbers,
// punctuation, symbols and the ASCII space. Anything else could steer a terminal, change the order
// of a line, or be invisible, so that one name looks like another: control characters, formatting
// and bidirectional characters, other spaces, fillers, variation selectors, private and unassigned
// characters.
func IsPrintable(r rune) bool {
	return unicode.IsPrint(r) && r != 0x2800 && // a braille pattern without dots
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Printable returns text on one line, with everything that is not printable escaped as in JSON and,
// where it is no UTF-8, as in Go: \u001b, \xff.
func Printable(text string) string { return PrintableBut(text, "") }

// excerptMost is how many bytes of a text of others are shown.
const excerptMost = 200

// Excerpt is Printable for a text that may be long. Secrets must have been redacted.
func Excerpt(text string) string {
	if len(text) > excerptMost {
		text = strings.ToValidUTF8(text[:excerptMost], "") + "..."
	}
	return Printable(text)
}

// PrintableBut is Printable where the characters of keep stay, too.
func PrintableBut(text, keep string) string {
	shown := func(r rune) bool { return IsPrintable(r) || strings.ContainsRune(keep, r) }
	clean := true
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") || !shown(r) {
			clean = false
			break
		}
	}
	if clean {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case shown(r):
			b.WriteString(text[:size])
		default:
			b.WriteString(escapeRune(r))
		}
		text = text[size:]
	}
	return b.String()
}

func escapeRune(r rune) string {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// JSON changes JSON that encoding/json made so that all its strings are printable after decoding,
// too: what shows them on a terminal or a page does not have to take care. With lines, line breaks
// and tabs stay.
func JSON(text []byte, lines bool) []byte {
	var out bytes.Buffer
	out.Grow(len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\\' && len(text) > 1:
			size = 2
			if text[1] == 'u' && len(text) >= 6 {
				size = 6
			}
			out.WriteString(escapeAgain(string(text[:size]), lines))
		case r < ' ' || IsPrintable(r): // control characters are between strings only
			out.Write(text[:size])
		default:
			out.WriteString(strings.ReplaceAll(escapeRune(r), `\`, `\\`))
		}
		text = text[size:]
	}
	return out.Bytes()
}

// escapeAgain returns an escape sequence of JSON, or one that decodes to a printable text.
func escapeAgain(sequence string, lines bool) string {
	switch sequence[1] {
	case '"', '\\', '/':
		return sequence
	case 'n', 't':
		if lines {
			return sequence
		}
	case 'u':
		if code, err := strconv.ParseUint(sequence[2:], 16, 16); err == nil && IsPrintable(rune(code)) {
			return sequence
		}
	}
	return `\` + sequence
}

// Out is an output of a program: whatever is written to it arrives printable. Line breaks and tabs
// stay. It is safe for use by several goroutines.
type Out struct {
	w    io.Writer
	edit func(string) string

	mu   sync.Mutex
	rest []byte // the beginning of a character
}

// Output returns an Out. Edit, if it is not nil, changes what is written before: it redacts.
func Output(w io.Writer, edit func(string) string) *Out { return &Out{w: w, edit: edit} }

// Write implements io.Writer.
func (o *Out) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := append(o.rest, p...)
	end := len(text)
	for cut := 1; cut < utf8.UTFMax && cut <= len(text); cut++ {
		if i := len(text) - cut; utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				end = i
			}
			break
		}
	}
	o.rest = bytes.Clone(text[end:])
	shown := string(text[:end])
	if o.edit != nil {
		shown = o.edit(shown)
	}
	if _, err := io.WriteString(o.w, PrintableBut(shown, "\n\t")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Terminal returns the terminal that w writes to, for control sequences of the program's own; nil
// if w does not write to one.
func Terminal(w io.Writer) *os.File {
	if o, ok := w.(*Out); ok {
		w = o.w
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
