package victoria

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
)

// The file is read each time: a token that was replaced counts.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	read := TokenFile(path)
	if _, err := read(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: got %v", err)
	}
	for _, want := range []string{"hunter2", "hunter3"} {
		if err := os.WriteFile(path, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := read(); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("a group may read it: got %v", err)
	}
}

// echo answers with everything the client sent, in the spellings that servers
// use, at random places of a long answer.
func echo(status, before int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		var all []string
		add := func(s string) {
			all = append(all, s, url.QueryEscape(s), url.PathEscape(s), fmt.Sprintf("%q", s), base64.StdEncoding.EncodeToString([]byte(s)))
		}
		for _, values := range r.Header {
			for _, v := range values {
				add(v)
			}
		}
		for _, v := range r.URL.Query() {
			add(v[0])
		}
		if _, password, ok := r.BasicAuth(); ok {
			add(password)
		}
		text := strings.Join(all, " ")
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "http://"+r.Header.Get("X-Secret")+".example.com/"+r.Header.Get("X-Secret"))
		w.WriteHeader(status)
		if status == http.StatusOK {
			fmt.Fprintf(w, `{"accepted":0,"rejected":1,"lines":[{"line":1,"reason":%q}]}`, text)
			return
		}
		io.WriteString(w, strings.Repeat(".", before)+text)
	}
}

// TestSecretsNeverShow: whatever fails and whatever the server says, neither
// token nor password nor a long header or parameter is in an error.
func TestSecretsNeverShow(t *testing.T) {
	t.Parallel()
	secret := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._~+/-]{8,40}=?`), rapid.StringMatching(`[ -~]{8,20}`), rapid.StringMatching(`[a-z]{4}["\\%<&é]{3}[a-z]{4}`))
	rapid.Check(t, func(rt *rapid.T) {
		drawn := func(name string) string { return strings.TrimSpace(secret.Draw(rt, name)) + "zq" }
		token, password, header, parameter := drawn("token"), drawn("password"), strings.Trim(drawn("header"), " "), drawn("parameter")
		status := rapid.SampledFrom([]int{200, 302, 400, 401, 404, 413, 429, 500, 503, 0, 1}).Draw(rt, "status")
		before := rapid.SampledFrom([]int{0, 300, 490, 511}).Draw(rt, "before")
		s := httptest.NewServer(echo(max(status, 200), before))
		defer s.Close()
		address := s.URL
		if status == 0 {
			s.Close()
		}
		cfg := Config{
			URL:     address + "/api/v1/import?authKey=" + url.QueryEscape(parameter),
			Headers: map[string]string{"X-Secret": header},
			Token:   func() (string, error) { return token, nil },
		}
		if rapid.Bool().Draw(rt, "basic") {
			cfg.Token, cfg.BasicAuth = nil, &BasicAuth{"user", func() (string, error) { return password, nil }}
		}
		if status == 1 {
			cfg.Token, cfg.BasicAuth = func() (string, error) { return token + "\n", nil }, nil
		}
		c, err := New(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		defer c.Close()
		r, importErr := c.Import(t.Context(), []byte("body"), "id")
		_, countErr := c.Count(t.Context(), Selector{DeviceID: "d"}, 1, 2)
		exportErr := c.Export(t.Context(), Selector{DeviceID: "d"}, 1, 2, func([]store.Tag, []int64) error { return nil })
		text := fmt.Sprintf("%v %+v %s %s %s", r, r.Details, errorTexts(importErr), errorTexts(countErr), errorTexts(exportErr))
		for name, secret := range map[string]string{"token": token, "password": password, "header": header, "parameter": parameter} {
			for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if strings.Contains(text, form) {
					rt.Errorf("%s %q shows in %s", name, form, text)
				}
			}
		}
	})
}

// errorTexts returns all that can be printed of an error.
func errorTexts(err error) string {
	if err == nil {
		return ""
	}
	text := fmt.Sprintf("%v %+v ", err, err)
	var e *Error
	if errors.As(err, &e) {
		text += fmt.Sprintf("%s %+v %#v ", e.Body, *e, e.Body)
	}
	return text + errorTexts(errors.Unwrap(err))
}

// TestRedact_Cut: a secret that begins where the text was cut.
func TestRedact_Cut(t *testing.T) {
	t.Parallel()
	f := func(text string, cut bool, want string) {
		t.Helper()
		if got := redact(text, []string{"hunter2", "other"}, cut); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	f("a hunter2 b hunt", false, "a [redacted] b hunt")
	f("a hunter2 b hunt", true, "a [redacted] b ")
	f("a hunter", true, "a ")
	f("a hunter2", true, "a [redacted]")
	f("a h", true, "a ")
	f("a b", true, "a b")
}
