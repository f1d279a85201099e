package doctor

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/lock"
)

// TestDoctor_Uploads: what the running shipperd says of its last upload.
func TestDoctor_Uploads(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	want(t, p.examine(), "uploads", Unknown, "shipperd is not running")

	held, err := lock.Acquire(p.cfg.Storage.Path + ".shipperd.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release() //nolint:errcheck // the folder goes with the test
	state := func(facts string) string { return `{"components":{"uploader":{"status":"x","facts":{` + facts + `}}}}` }
	for _, c := range []struct {
		what   string
		code   int
		body   string
		status Status
		text   string
	}{
		{"none yet", 200, state(`"started":"2026-11-23T20:00:00Z"`), OK, "none yet"},
		{"fine", 200, state(`"last_upload":"2026-11-23T20:00:00Z"`), OK, "succeeded"},
		{"refused", 200, state(`"last_upload":"2026-11-23T20:00:00Z","error":"403 Forbidden: not the token's"`), Fail, "403 Forbidden: not the token's"},
		{
			"late", 200, `{"reasons":[{"code":"backlog","severity":"degraded","remedy":"no"},{"code":"upload_late","severity":"degraded","remedy":"Replace the token."}],` +
				state(`"error":"connection refused"`)[1:], Fail, "Replace the token.",
		},
		{
			"late, and the cause names this program", 200, `{"reasons":[{"code":"upload_overdue","severity":"degraded","remedy":"Give doctor the token."}],` +
				state(`"error":"connection refused"`)[1:], Fail, "Give doctor the token.",
		},
		{
			"late, and the remedy is this program", 200, `{"reasons":[{"code":"upload_stalled","severity":"error","remedy":"` + health.UploadStalled.Remedy + `"}],` +
				state(`"error":"connection refused"`)[1:], Fail, "fix this if no check above fails",
		},
		{"ill", 503, state(`"error":"connection refused"`), Fail, "retries within two minutes"},
		{"another program", 200, `{"components":{}}`, Unknown, "without the state of the uploads"},
		{"another port", 404, "404 page not found", Unknown, "404"},
		{"too much", 200, strings.Repeat(" ", maxState) + state(""), Unknown, "EOF"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/health" {
				t.Errorf("asked for %s", r.URL)
			}
			w.WriteHeader(c.code)
			_, _ = io.WriteString(w, c.body)
		}))
		p.cfg.Health.ShipperdListen = srv.Listener.Addr().String()
		found := p.examine()
		srv.Close()
		want(t, found, "uploads", c.status, c.text)
		if t.Failed() {
			t.Fatal(c.what)
		}
	}
	want(t, p.examine(), "uploads", Unknown, "no answer from shipperd")
}

func TestDoctor_UploadsBehindAPassword(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	held, err := lock.Acquire(p.cfg.Storage.Path + ".shipperd.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release() //nolint:errcheck // the folder goes with the test
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "boss" || password != "a:b" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"components":{"uploader":{"facts":{}}}}`)
	}))
	defer srv.Close()
	_, port, _ := strings.Cut(srv.Listener.Addr().String(), ":")
	p.cfg.Health.ShipperdListen = "0.0.0.0:" + port
	want(t, p.examine(), "uploads", Unknown, "401")
	p.cfg.Health.AuthFile = filepath.Join(t.TempDir(), "login")
	want(t, p.examine(), "uploads", Unknown, "no such file")
	if err := os.WriteFile(p.cfg.Health.AuthFile, []byte("boss:a:b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "uploads", OK, "none yet")
}
