package logx

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const redacted = "[redacted]"

// Secrets redacts secrets in everything that is written through it. The zero Secrets contains none.
// All methods may be called at any time by any goroutine.
//
// It works on the finished text, not on single attributes, so that no way into a line goes round
// it: a message, an error, a struct, an attribute bound before the secret was known, a stack. It
// finds a secret as it is, in base64 (as basic auth sends it), escaped for a URL, and quoted as
// JSON and Go quote it. It cannot find one that was hashed; RedactParts finds the beginning of one
// that was cut.
type Secrets struct {
	mu       sync.RWMutex
	forms    []string // all spellings of all secrets, longest first
	replacer *strings.Replacer
}

// Add makes secret one that never shows again. White space around it is no part of it; an empty one
// is ignored. For basic auth add the password and also "user:password", whose base64 form is what a
// request carries.
func (s *Secrets) Add(secret string) {
	secret = strings.TrimSpace(secret)
	if secret == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forms = append(s.forms, spellings(secret)...)
	// A replacer takes the first that fits: with the longest first no tail of a secret is left
	// standing.
	slices.SortFunc(s.forms, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	s.forms = slices.Compact(s.forms)
	pairs := make([]string, 0, 2*len(s.forms))
	for _, f := range s.forms {
		pairs = append(pairs, f, redacted)
	}
	s.replacer = strings.NewReplacer(pairs...)
}

// spellings returns the ways in which a secret can turn up in a line.
func spellings(secret string) []string {
	all := []string{
		secret,
		url.QueryEscape(secret),
		url.PathEscape(secret),
		strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
		strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(secret)), "="),
	}
	// An error often quotes (%q) what it names, and the handler quotes the error again.
	for range 2 {
		for _, form := range slices.Clone(all) {
			all = append(all, unquoted(strconv.Quote(form)))
			if text, err := json.Marshal(form); err == nil {
				all = append(all, unquoted(string(text)))
			}
		}
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// Redact returns text with every secret in it replaced by "[redacted]".
func (s *Secrets) Redact(text string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.replacer == nil {
		return text
	}
	return s.replacer.Replace(text)
}

// partAtLeast is how much of a secret has to be there to be known for a part of one: fewer bytes
// occur by chance.
const partAtLeast = 8

// RedactParts is Redact for what others wrote, who may have cut a secret in two: what a secret
// begins with goes, too.
func (s *Secrets) RedactParts(text string) string {
	text = s.Redact(text)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, form := range s.forms {
		for from := 0; len(form) > partAtLeast; {
			i := strings.Index(text[from:], form[:partAtLeast])
			if i < 0 {
				break
			}
			i += from
			end := i + partAtLeast
			for end < len(text) && end-i < len(form) && text[end] == form[end-i] {
				end++
			}
			text = text[:i] + redacted + text[end:]
			from = i + len(redacted)
		}
	}
	return text
}

// Writer returns a writer that passes on to w what Redact leaves of each write. A write is looked
// at by itself: it must hold whole lines, as those of log handlers do. Give it to New in the place
// of w; colours are not lost.
func (s *Secrets) Writer(w io.Writer) io.Writer {
	r := redactor{s, w}
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		return terminal{r, f.Fd}
	}
	return r
}

type redactor struct {
	secrets *Secrets
	w       io.Writer
}

func (r redactor) of() *Secrets { return r.secrets }

func (r redactor) Write(p []byte) (int, error) {
	if _, err := io.WriteString(r.w, r.secrets.Redact(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// terminal lets New see the file below the redactor, which may be a terminal.
type terminal struct {
	redactor
	fd func() uintptr
}

func (t terminal) Fd() uintptr { return t.fd() }
