package e2e

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"belabox-metrics/shared/testkit"
)

// secrets are what must never show, each in all the spellings in which it could.
type secrets map[string][]string // spellings by what it is

func (s secrets) plant(what, secret string) {
	quoted, _ := json.Marshal(secret) // a string has no error
	s[what] = append(s[what], secret, url.QueryEscape(secret), url.PathEscape(secret),
		strings.Trim(strconv.Quote(secret), `"`), strings.Trim(string(quoted), `"`),
		strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="))
}

// look searches a text.
func (s secrets) look(t *testing.T, where, text string) {
	t.Helper()
	for what, spellings := range s {
		for _, form := range spellings {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s: the %s shows as %q in …%s…", where, what, form, text[max(0, i-200):min(len(text), i+len(form)+50)])
				return
			}
		}
	}
}

// echoServer answers with the request's headers, in errors of each kind and in a
// redirect.
type echoServer struct {
	*httptest.Server
	imports, told atomic.Int32
}

func startEchoServer(t *testing.T) *echoServer {
	t.Helper()
	p := &echoServer{}
	p.Server = httptest.NewTLSServer(p)
	p.Config.ErrorLog = nil
	t.Cleanup(p.Close)
	return p
}

func (p *echoServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	var b strings.Builder
	_ = r.Header.Write(&b) // a builder takes all
	if user, password, ok := r.BasicAuth(); ok {
		fmt.Fprintf(&b, "user %s password %s\n", user, password)
	}
	if r.Header.Get("Authorization") != "" {
		p.told.Add(1)
	}
	statuses := []int{401, 500, 400, 413, 429, 503, 307} // the first comes last
	status := statuses[int(p.imports.Add(1))%len(statuses)]
	w.Header().Set("Location", "https://elsewhere.example/?"+url.QueryEscape(b.String()))
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, b.String())
}

// identity writes the server's certificate, as CA and as the client's own, and
// its key.
func (p *echoServer) identity(t *testing.T, dir string) (keyPEM string) {
	t.Helper()
	pair := p.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	writeSecret(t, dir, "cert.pem", cert)
	writeSecret(t, dir, "key.pem", keyPEM)
	return keyPEM
}

func writeSecret(t *testing.T, dir, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSecrets plants secrets wherever there is a place for one, lets the server
// repeat them, and looks for them in everything that the programs write.
func TestSecrets(t *testing.T) {
	t.Parallel()
	for login, format := range map[string]string{"token": "json", "password": "console"} {
		t.Run(login, func(t *testing.T) {
			t.Parallel()
			server := startEchoServer(t)
			r := newRig(t, server.URL+"/api/v1/import", nil)
			planted := secrets{}

			remote := "tls:\n  ca_file: " + r.dir + "/cert.pem\n  cert_file: " + r.dir + "/cert.pem\n  key_file: " + r.dir + "/key.pem\n"
			for i, line := range strings.Split(server.identity(t, r.dir), "\n") {
				if i > 0 && len(line) > 40 && !strings.HasPrefix(line, "-") {
					planted.plant("client key", line)
				}
			}
			planted.plant("header value", `head"er\s3cret <&>`)
			remote += "headers:\n  X-Key: 'head\"er\\s3cret <&>'\n"
			planted.plant(login, `s3cret/`+login+`+"=\%`)
			file := writeSecret(t, r.dir, "login", `s3cret/`+login+`+"=\%`+"\n")
			if login == "token" {
				remote += "auth_token_file: " + file
			} else {
				planted.plant("user and password", `box:s3cret/`+login+`+"=\%`)
				remote += "basic_auth:\n  username: box\n  password_file: " + file
			}
			r.set("remote", remote+"\nretry:\n  initial_backoff: 100ms\n  max_backoff: 1s")
			r.set("logging", "format: "+format)
			// The clock's server is asked by way of a proxy that wants a login and is not there.
			planted.plant("proxy's password", "proxy-s3cret")
			r.set("monitoring", "clock_skew_url: http://time.example/")
			planted.plant("pages' password", "pages-s3cret")
			r.set("health", "auth_file: "+writeSecret(t, r.dir, "pages", "me:pages-s3cret\n"))
			env := []string{"HTTP_PROXY=http://me:proxy-s3cret@127.0.0.1:1", "NO_PROXY=", "no_proxy="}

			start := func(bin string, args ...string) *testkit.Proc {
				return testkit.StartProc(t, testkit.Command{Path: bin, Args: append([]string{"-config", r.config}, args...), Env: env})
			}
			collectord, shipperd := start(r.bins.Collectord), start(r.bins.Shipperd)
			pages := []string{healthAddress(collectord, "collectord"), healthAddress(shipperd, "shipperd")}
			testkit.Eventually(t, testkit.WaitLimit, "some answers", func() bool { return server.told.Load() >= 4 })

			for _, base := range pages {
				for _, path := range []string{"/", "/health", "/health/live", "/health/ready", "/metrics", "/nothing"} {
					for _, password := range []string{"", "pages-s3cret", "wrong"} {
						login := ""
						if password != "" {
							login = "me:" + password
						}
						_, header, body := ask(t, base+path, "", login)
						planted.look(t, base+path, fmt.Sprint(header)+body)
					}
				}
			}
			commands := [][]string{
				{"-print-config"},
				{"-check-config"},
				{"-help"},
				{"status"},
				{"status", "-json"},
				{"doctor"},
				{"doctor", "-json"},
				{"audit"},
				{"audit", "-json"},
				{"deadletter", "list"},
				{"deadletter", "list", "-json"},
			}
			redacted := 0
			for _, args := range commands {
				p := start(r.bins.Shipperd, args...)
				p.Wait(testkit.WaitLimit)
				planted.look(t, "shipperd "+strings.Join(args, " "), p.Stdout()+p.Stderr())
				redacted += strings.Count(p.Stdout()+p.Stderr(), "[redacted]")
			}
			for _, p := range []*testkit.Proc{collectord, shipperd} {
				p.Stop(testkit.WaitLimit)
				planted.look(t, "the log", p.Stdout()+p.Stderr())
				redacted += strings.Count(p.Stderr(), "[redacted]")
			}
			if n := server.told.Load(); redacted == 0 || n < 7 {
				t.Errorf("%d answers, %d places redacted: too few for this test to say anything", n, redacted)
			}
			for _, suffix := range []string{"", "-wal"} {
				text, err := os.ReadFile(r.db + suffix)
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				planted.look(t, "the database"+suffix, string(text))
			}
		})
	}
}

// TestSecrets_RefusedInAddresses: a password or key in an address is refused by
// every way in, and not repeated.
func TestSecrets_RefusedInAddresses(t *testing.T) {
	t.Parallel()
	planted := secrets{}
	planted.plant("secret", "s3cret-of-the-address")
	for i, address := range []string{
		"http://me:s3cret-of-the-address@127.0.0.1:1/api/v1/import", "http://127.0.0.1:1/api/v1/import?authKey=s3cret-of-the-address",
		"http://me:s3cret-of-the-address@%zz/api/v1/import", "//me:s3cret-of-the-address@127.0.0.1:nope",
	} {
		for _, section := range []string{"remote", "verify", "monitoring"} {
			r := newRig(t, "http://127.0.0.1:1/api/v1/import", nil)
			switch section {
			case "remote":
				r = newRig(t, address, nil)
			case "verify":
				r = newRig(t, "", map[string]string{"remote": "url: http://127.0.0.1:1/api/v1/import\nverify:\n  url: '" + address + "'"})
			case "monitoring":
				r.set("monitoring", "clock_skew_url: '"+address+"'")
			}
			for _, bin := range []string{r.bins.Collectord, r.bins.Shipperd} {
				for _, args := range [][]string{nil, {"-check-config"}, {"-once"}} {
					p := r.start(bin, args...)
					if code := p.Wait(testkit.WaitLimit); code != 2 {
						t.Errorf("address %d in %s: exit code %d, want 2", i, section, code)
					}
					planted.look(t, fmt.Sprint(filepath.Base(bin), args), p.Stdout()+p.Stderr())
				}
			}
		}
	}
}
