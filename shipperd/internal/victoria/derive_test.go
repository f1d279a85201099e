package victoria

import (
	"strings"
	"testing"
)

func TestDerive(t *testing.T) {
	t.Parallel()
	fromURL := func(text string) (export, query string, err error) {
		u, err := parseURL(text)
		if err != nil {
			return "", "", err
		}
		e, q, err := derive(u)
		if err != nil {
			return "", "", err
		}
		return e.String(), q.String(), nil
	}
	f := func(url, export, query string) {
		t.Helper()
		gotExport, gotQuery, err := fromURL(url)
		if err != nil || gotExport != export || gotQuery != query {
			t.Errorf("%s: got %s, %s, %v", url, gotExport, gotQuery, err)
		}
	}
	f("http://127.0.0.1:8428/api/v1/import", "http://127.0.0.1:8428/api/v1/export", "http://127.0.0.1:8428/api/v1/query")
	f("https://h/a/b/api/v1/import?extra_label=x=y", "https://h/a/b/api/v1/export", "https://h/a/b/api/v1/query")
	f("http://h/api/v1/import/", "http://h/api/v1/export", "http://h/api/v1/query")
	f("http://h/prometheus/api/v1/import", "http://h/prometheus/api/v1/export", "http://h/prometheus/api/v1/query")
	f("http://h/insert/42/prometheus/api/v1/import", "http://h/select/42/prometheus/api/v1/export", "http://h/select/42/prometheus/api/v1/query")
	f("http://h/vm/insert/42:7/prometheus/api/v1/import", "http://h/vm/select/42:7/prometheus/api/v1/export", "http://h/vm/select/42:7/prometheus/api/v1/query")
	f("http://[::1]:80/api/v1/import", "http://[::1]:80/api/v1/export", "http://[::1]:80/api/v1/query")

	bad := func(url, want string) {
		t.Helper()
		if export, query, err := fromURL(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %s, %s, %v, want %q", url, export, query, err, want)
		}
	}
	for _, url := range []string{
		"http://h/", "http://h/write", "http://h/api/v1/importx", "http://h/api/v1/import/prometheus", "http://h/insert/0/prometheus/write",
		"http://h/insert/0/api/v1/import", "http://h/insert/0/prometheus/x/api/v1/import", "http://h/insert/multitenant/prometheus/api/v1/import",
		"http://h/insert/x/prometheus/api/v1/import", "http://h/insert/api/v1/import",
	} {
		bad(url, "set remote.verify.url")
	}
	bad("ftp://h/api/v1/import", "http")
	bad("http:///api/v1/import", "host")
	bad("http://u:hunter2@h/api/v1/import", "credentials")
	bad("http://h/%zz", "not a URL")
}

func TestNew_Faults(t *testing.T) {
	t.Parallel()
	secret := "hunter2hunter2"
	_, err := New(Config{
		URL: "http://u:" + secret + "@h/", VerifyURL: "http://h/api/v1/query?x=" + secret, Timeout: -1,
		Headers: map[string]string{"bad name": "x", "X-A": secret + "\n"},
		TLS:     TLSFiles{CAFile: "/does/not/exist", CertFile: "/neither/does/this"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"remote.url", "remote.verify.url", "remote.timeout", `"bad name"`, "remote.headers.X-A", "remote.tls.ca_file", "cert_file and key_file belong together"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%q holds a secret", err)
	}
	password := func() (string, error) { return "", nil }
	f := func(cfg Config, want string) {
		t.Helper()
		cfg.URL = "http://h/api/v1/import"
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(Config{VerifyURL: "http://h/api/v1/import"}, "remote.verify.url: want an address that ends in /api/v1/export")
	f(Config{VerifyURL: "h/api/v1/export"}, "remote.verify.url")
	f(Config{Token: password, BasicAuth: &BasicAuth{"u", password}}, "exclude each other")
	f(Config{BasicAuth: &BasicAuth{Username: "u"}}, "no password")
}
