package logx

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestSecrets_EveryWayIn logs a secret in each way that a line can get one.
func TestSecrets_EveryWayIn(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"s3cr3t-Token", `pass"word\ with <odd> & ünusual/+=? marks`} {
		for _, format := range []string{"json", "console"} {
			var buf bytes.Buffer
			var secrets Secrets
			log, err := New(secrets.Writer(&buf), "debug", format)
			if err != nil {
				t.Fatal(err)
			}
			early := log.With("bound", secret)
			secrets.Add(secret + "\n") // as read from a file
			u := &url.URL{Scheme: "http", Host: "h", User: url.UserPassword("u", secret), RawQuery: "t=" + url.QueryEscape(secret)}
			pair := "user:" + secret
			secrets.Add(pair)
			early.Info("message with " + secret)
			log.Info("m",
				"string", secret,
				"error", fmt.Errorf("get %q: %w", secret, errors.New(secret)),
				"url", u.String(),
				"path", url.PathEscape(secret),
				"header", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)),
				"bytes", []byte(secret),
				"slice", []string{secret},
				"map", map[string]any{"token": secret},
				"struct", struct{ Token string }{secret},
				"pointer", &struct{ Token *string }{&secret},
				slog.Group("group", "nested", secret),
				secret, "as a key")
			got := buf.String()
			for _, form := range spellings(secret) {
				if strings.Contains(got, form) {
					t.Errorf("%s: got the secret as %q in\n%s", format, form, got)
				}
			}
			if n := strings.Count(got, redacted); n < 12 {
				t.Errorf("%s: got %d places redacted, want at least 12:\n%s", format, n, got)
			}
		}
	}
}

func TestSecrets_Redact(t *testing.T) {
	t.Parallel()
	f := func(text, want string, known ...string) {
		t.Helper()
		var s Secrets
		for _, k := range known {
			s.Add(k)
		}
		if got := s.Redact(text); got != want {
			t.Errorf("%q with %q: got %q, want %q", text, known, got, want)
		}
	}
	f("nothing known", "nothing known")
	f("a b", "a b", "", " \n")
	f("token abc, abc.", "token [redacted], [redacted].", "abc")
	f("abcdef abc", "[redacted] [redacted]", "abc", "abcdef") // no "def" left over
	f("abcdef abc", "[redacted] [redacted]", "abcdef", "abc")
	f("xx", "[redacted]", "xx", "xx")
}

// TestSecrets_Property hides random secrets in random text.
func TestSecrets_Property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Letters that are no part of "[redacted]", so that finding one is no chance.
		known := rapid.SliceOfN(rapid.StringMatching(`[A-Z0-9"\\/+=]{4,12}`), 1, 4).Draw(t, "known")
		parts := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(known), rapid.String()), 0, 8).Draw(t, "parts")
		var s Secrets
		for _, k := range known {
			s.Add(k)
		}
		got := s.Redact(strings.Join(parts, " "))
		for _, k := range known {
			if strings.Contains(got, k) {
				t.Errorf("got %q with the secret %q in it", got, k)
			}
		}
	})
}

func TestSecrets_Writer(t *testing.T) {
	t.Parallel()
	var s Secrets
	s.Add("hunter22")
	var buf bytes.Buffer
	in := []byte("is hunter22\n")
	n, err := s.Writer(&buf).Write(in)
	if n != len(in) || err != nil {
		t.Errorf("got %d, %v, want the length of the input, nil", n, err)
	}
	if want := "is [redacted]\n"; buf.String() != want || string(in) != "is hunter22\n" {
		t.Errorf("got %q, want %q and the input untouched", buf.String(), want)
	}
	r, w := io.Pipe()
	r.CloseWithError(io.ErrUnexpectedEOF)
	if n, err := s.Writer(w).Write(in); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d, %v, want 0, %v", n, err, io.ErrUnexpectedEOF)
	}
}

// TestSecrets_Concurrent is for the race detector.
func TestSecrets_Concurrent(t *testing.T) {
	t.Parallel()
	var s Secrets
	w := s.Writer(io.Discard)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				s.Add(fmt.Sprintf("secret-%d-%d", i, j))
				fmt.Fprintln(w, "text")
			}
		})
	}
	wg.Wait()
	if got := s.Redact("secret-3-49"); got != redacted {
		t.Errorf("got %q, want %q", got, redacted)
	}
}
