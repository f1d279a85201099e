package health

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/testkit"
)

// ask sends one GET with a Host header and, where user is set, a login.
func ask(t *testing.T, addr, path, host, user, password string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func testLog(t *testing.T, log *testkit.Buffer) *slog.Logger {
	t.Helper()
	l, err := logx.New(log, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func page(s *Server) {
	s.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }))
}

func TestServer_HostHeader(t *testing.T) {
	t.Parallel()
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(own, ".")
	addr, _ := serve(t, Config{Access: Access{Hosts: []string{"Box.Example"}}}, page)
	f := func(host string, want int) {
		t.Helper()
		if got := ask(t, addr, "/", host, "", "").StatusCode; got != want {
			t.Errorf("host %q: got %d, want %d", host, got, want)
		}
		if got := ask(t, addr, livePath, host, "", "").StatusCode; got != 200 {
			t.Errorf("host %q, %s: got %d, want 200", host, livePath, got)
		}
	}
	for _, host := range []string{
		addr, "127.0.0.1", "10.0.0.7:9100", "[::1]:9100", "[fe80::1]", "localhost:1", "LOCALHOST", "localhost.", "a.localhost",
		own, own + ":9100", strings.ToUpper(short), short + ".local", short + ".local.:80", "box.example", "BOX.example:9100",
	} {
		f(host, 200)
	}
	for _, host := range []string{
		"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.local", "notlocalhost", "box.example.evil", "127.1", "0x7f.1", ":80",
	} {
		f(host, 421)
	}
}

func TestServer_NoHostHeader(t *testing.T) {
	t.Parallel()
	if !newHosts("", nil).allow("") {
		t.Error("a probe by HTTP/1.0 has no Host header and is refused")
	}
}

func TestServer_Login(t *testing.T) {
	t.Parallel()
	m := NewMonitor(About{}, Limits{}, func(context.Context) Input { return Input{} }, nil)
	addr, log := serve(t, Config{Monitor: m, Access: Access{Login: newLogin("op", "s:3cret")}}, page)
	f := func(path, user, password string, want int) {
		t.Helper()
		resp := ask(t, addr, path, addr, user, password)
		if resp.StatusCode != want {
			t.Errorf("%s as %q, %q: got %d, want %d", path, user, password, resp.StatusCode, want)
		}
		if asks := resp.Header.Get("WWW-Authenticate") != ""; asks != (want == 401) {
			t.Errorf("%s: got WWW-Authenticate %v, want %v", path, asks, want == 401)
		}
	}
	for _, path := range []string{"/", "/health", "/health/ready", "/nowhere"} {
		f(path, "", "", 401)
		f(path, "op", "s:3cre", 401)
		f(path, "OP", "s:3cret", 401)
	}
	if !strings.Contains(log.String(), "login refused") || strings.Contains(log.String(), "3cret") {
		t.Errorf("got log %s, want refusals in it and no password", log)
	}
	f("/", "op", "s:3cret", 200)
	f("/health", "op", "s:3cret", 200)
	f(livePath, "", "", 200)
}

// TestServer_LoginsRefused: somebody who tries passwords all day is a line a minute, and
// one when it is over, so that the next one is news.
func TestServer_LoginsRefused(t *testing.T) {
	t.Parallel()
	var log testkit.Buffer
	now := time.Now()
	s := &Server{log: testLog(t, &log), login: newLogin("op", "secret"), hosts: newHosts("127.0.0.1:1", nil)}
	clock := func() time.Time { return now }
	s.failures, s.panics, s.logins, s.crowded = logx.NewThrottle(0, clock), logx.NewThrottle(0, clock), logx.NewThrottle(0, clock), logx.NewThrottle(0, clock)
	try := func() {
		t.Helper()
		r := httptest.NewRequest("GET", "http://127.0.0.1:1/health", nil)
		r.SetBasicAuth("op", "guess")
		w := httptest.NewRecorder()
		if s.refused(w, r); w.Code != 401 {
			t.Errorf("got %d, want 401", w.Code)
		}
	}
	f := func(text string, want int) {
		t.Helper()
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("got %d lines with %q, want %d:\n%s", n, text, want, log.String())
		}
	}
	for range 600 { // ten minutes
		try()
		now = now.Add(time.Second)
		s.endQuiet()
	}
	f("login refused", 10)
	f("no further", 0)
	now = now.Add(quietAfter)
	s.endQuiet()
	s.endQuiet()
	f(`logins no longer refused","failures":600`, 1)
	now = now.Add(time.Hour)
	try()
	f("login refused", 11)
	f("repeated", 9) // not the first of each
}

func TestServer_Headers(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, Config{}, func(s *Server) {
		page(s)
		s.Handle("/panics", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }))
	})
	for path, code := range map[string]int{"/": 200, "/nowhere": 404, livePath: 200, "/panics": 500} {
		resp := ask(t, addr, path, addr, "", "")
		if resp.StatusCode != code {
			t.Errorf("%s: got %d, want %d", path, resp.StatusCode, code)
		}
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: got policy %q", path, policy)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", path, name, got, want)
			}
		}
	}
}

func TestListen_WarnsOfAnOpenPort(t *testing.T) {
	t.Parallel()
	f := func(addr string, login *Login, want bool) {
		t.Helper()
		log := &testkit.Buffer{}
		s, err := Listen(addr, Config{Key: "health.test_listen", Progress: NewProgress(1, nil), Log: testLog(t, log), Access: Access{Login: login}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got := strings.Contains(log.String(), "without a password"); got != want {
			t.Errorf("%s: got a warning %v, want %v: %s", addr, got, want, log)
		}
	}
	f("127.0.0.1:0", nil, false)
	f("127.0.0.2:0", nil, false)
	f("0.0.0.0:0", nil, true)
	f(":0", nil, true)
	f("0.0.0.0:0", newLogin("a", "b"), false)
}

func TestAccessOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := func(text string, mode os.FileMode, want string) {
		t.Helper()
		path := filepath.Join(dir, fmt.Sprintf("%d-%o", len(text), mode))
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		a, err := AccessOf(config.HealthConfig{AuthFile: path, AllowedHosts: []string{"box"}})
		switch {
		case want == "" && (err != nil || a.Login == nil || *a.Login != *newLogin("op", "s:3cret") || len(a.Hosts) != 1):
			t.Errorf("%q: got %+v, %v, want a login", text, a, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "3cret")):
			t.Errorf("%q: got %v, want an error with %q and without the password", text, err, want)
		}
	}
	f("op:s:3cret\n", 0o600, "")
	f("op:s:3cret\r\n", 0o400, "")
	f("op:s:3cret", 0o640, "chmod 600")
	f("", 0o600, "is empty")
	f("s3cret", 0o600, "must contain one line, user:password")
	f(":s3cret", 0o600, "must contain one line, user:password")
	f("s3cret:", 0o600, "must contain one line, user:password")
	f("a:s3cret\nb:s3cret\n", 0o600, "second line")
	if _, err := AccessOf(config.HealthConfig{AuthFile: dir}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: got %v", err)
	}
	if _, err := AccessOf(config.HealthConfig{AuthFile: filepath.Join(dir, "none")}); err == nil {
		t.Error("no file: got no error")
	}
	if a, err := AccessOf(config.HealthConfig{}); err != nil || a.Login != nil {
		t.Errorf("no auth_file: got %+v, %v", a, err)
	}
}

func TestAccessOf_Credential(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	path := filepath.Join(dir, "login")
	if err := os.WriteFile(path, []byte("op:pw"), 0o440); err != nil {
		t.Fatal(err)
	}
	if _, err := AccessOf(config.HealthConfig{AuthFile: path}); err != nil {
		t.Errorf("got %v, want a credential of systemd to be taken as it is", err)
	}
}

// FuzzHosts: a name that the public DNS answers for is never taken for this
// machine's.
func FuzzHosts(f *testing.F) {
	for _, seed := range []string{"evil", "127.0.0.1", "localhost.", "[::1]", "xn--nxasmq6b", "a:1:2", "%41", "localhost\x00"} {
		f.Add(seed)
	}
	h := hosts{[]string{"localhost", "box", "box.local"}}
	f.Fuzz(func(t *testing.T, text string) {
		if name := text + ".example"; h.allow(name) || h.allow(name+":9100") {
			t.Errorf("%q is allowed", name)
		}
		h.allow(text)
	})
}

// TestServer_OtherSites: what a page of another web site makes a browser request is refused; a link
// to the status page is not.
func TestServer_OtherSites(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, Config{}, page)
	get := func(path string, want int, headers ...string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s with %q: got %d, want %d", path, headers, resp.StatusCode, want)
		}
	}
	for _, path := range []string{"/", livePath, "/nowhere"} {
		get(path, 403, "Sec-Fetch-Site", "cross-site")
		get(path, 403, "Sec-Fetch-Site", "Cross-Site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image")
		get(path, 403, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe")
	}
	get("/", 200, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	get(livePath, 403, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	for _, site := range []string{"same-origin", "same-site", "none"} {
		get("/", 200, "Sec-Fetch-Site", site)
	}
}

// TestGuesses: wrong passwords cost time from the eleventh on, also where many come at once and
// nobody waits for the answers; the right one ends that, and others are not affected.
func TestGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &guesses{by: map[netip.Prefix]*guesser{}}
		guesser, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
		start := time.Now()
		var checked atomic.Int32
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if g.wait(t.Context(), guesser) {
					checked.Add(1)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took != guessPatience || int(checked.Load()) != freeGuesses+int(guessPatience/guessPause) {
			t.Errorf("%d of 1000 passwords were checked in %v", checked.Load(), took)
		}
		start = time.Now()
		if !g.wait(t.Context(), other) || time.Since(start) != 0 {
			t.Error("another client had to wait")
		}
		for range 2 * maxGuessers {
			g.wait(t.Context(), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(len(g.by) >> 8), byte(len(g.by))}), 32))
		}
		if len(g.by) > maxGuessers {
			t.Errorf("%d addresses are remembered, want at most %d", len(g.by), maxGuessers)
		}
		g.right(guesser)
		start = time.Now()
		if !g.wait(t.Context(), guesser) || time.Since(start) != 0 {
			t.Error("after the right password a client still waits")
		}
	})
}
