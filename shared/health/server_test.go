package health

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/testkit"
)

// serve runs a server on loopback until the test ends; add may put handlers in.
func serve(t *testing.T, cfg Config, add func(*Server)) (address string, log *testkit.Buffer) {
	t.Helper()
	log = &testkit.Buffer{}
	var err error
	if cfg.Log, err = logx.New(log, "debug", "json"); err != nil {
		t.Fatal(err)
	}
	cfg.Key = "health.test_listen"
	if cfg.Progress == nil {
		cfg.Progress = NewProgress(time.Hour, nil)
	}
	s, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	if add != nil {
		add(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	return s.Addr(), log
}

// request returns the status, the header and the body; with the client's own limit a broken test
// ends.
func request(t *testing.T, method, url string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.WaitLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestServer_Live(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var passed atomic.Int64
	p := NewProgress(30*time.Second, func() time.Time { return start.Add(time.Duration(passed.Load())) })
	addr, _ := serve(t, Config{Progress: p}, nil)
	f := func(idle time.Duration, wantCode int, want liveness) {
		t.Helper()
		passed.Store(int64(idle))
		resp, body := request(t, "GET", "http://"+addr+"/health/live")
		if resp.StatusCode != wantCode || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v: got %d, %s, want %d, JSON", idle, resp.StatusCode, resp.Header.Get("Content-Type"), wantCode)
		}
		wantBody, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if body != string(wantBody)+"\n" {
			t.Errorf("%v: got\n%s\nwant\n%s", idle, body, wantBody)
		}
		resp, body = request(t, "HEAD", "http://"+addr+"/health/live")
		if resp.StatusCode != wantCode || body != "" || resp.ContentLength != int64(len(wantBody)+1) {
			t.Errorf("HEAD: got %d, %q, length %d, want the header of GET alone", resp.StatusCode, body, resp.ContentLength)
		}
	}
	last := stamp(start)
	f(0, 200, liveness{Status: OK, LastProgress: last, LimitSeconds: 30})
	f(30*time.Second, 200, liveness{Status: OK, LastProgress: last, LimitSeconds: 30})
	f(30*time.Second+time.Millisecond, 503, liveness{
		Status: Error, LastProgress: last, LimitSeconds: 30,
		Message: "the working loop has not advanced for 30.001s", Since: last.Add(30 * time.Second),
	})
	p.Beat()
	f(31*time.Second, 200, liveness{
		Status: OK, LastProgress: stamp(start.Add(30*time.Second + time.Millisecond)), LimitSeconds: 30,
	})
}

func TestServer_HealthAndReady(t *testing.T) {
	t.Parallel()
	var failing atomic.Int32
	source := func(context.Context) Input { return collectors(2, []int{0, 1}[:failing.Load()]...) }
	m := NewMonitor(About{Name: "collectord"}, defaults, source, func() time.Time { return now })
	addr, _ := serve(t, Config{Monitor: m}, nil)
	f := func(fail int32, wantStatus string, wantReady, wantReasons int) {
		t.Helper()
		failing.Store(fail)
		for path, wantCode := range map[string]int{"/health": 200, "/health/ready": wantReady, "/health/live": 200} {
			resp, body := request(t, "GET", "http://"+addr+path)
			var got struct {
				Status     string
				Conditions []struct{ Code, Severity string } `json:"reasons"`
				Components map[string]any
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != wantCode {
				t.Errorf("%s, %d failing: got %d, want %d", path, fail, resp.StatusCode, wantCode)
			}
			if path == "/health/live" {
				continue // a failing collector is no reason for a restart
			}
			if got.Status != wantStatus || len(got.Conditions) != wantReasons ||
				(wantReasons > 0 && got.Conditions[0].Severity != wantStatus) {
				t.Errorf("%s, %d failing: got %s, want %s and %d reasons", path, fail, body, wantStatus, wantReasons)
			}
			if (got.Components != nil) != (path == "/health") {
				t.Errorf("%s: got components %v", path, got.Components)
			}
		}
	}
	f(0, "ok", 200, 0)
	f(1, "degraded", 503, 1)
	f(2, "error", 503, 1)
	f(0, "ok", 200, 0)
}

func TestServer_PathsAndMethods(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page ", r.URL.Path) })
	addr, _ := serve(t, Config{}, func(s *Server) {
		s.Handle("/", ok)
		s.Handle("/metrics", ok)
	})
	f := func(method, path string, want int, wantBody string) {
		t.Helper()
		resp, body := request(t, method, "http://"+addr+path)
		if resp.StatusCode != want || body != wantBody {
			t.Errorf("%s %s: got %d %q, want %d %q", method, path, resp.StatusCode, body, want, wantBody)
		}
		if wantAllow := map[bool]string{true: "GET, HEAD"}[want == 405]; resp.Header.Get("Allow") != wantAllow {
			t.Errorf("%s %s: got Allow %q, want %q", method, path, resp.Header.Get("Allow"), wantAllow)
		}
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: got header %v, want no-store and nosniff", method, path, resp.Header)
		}
	}
	const (
		noPath   = "{\n  \"error\": \"no such path\"\n}\n"
		noMethod = "{\n  \"error\": \"method not allowed; use GET or HEAD\"\n}\n"
	)
	f("GET", "/", 200, "page /")
	f("HEAD", "/", 200, "")
	f("GET", "/metrics", 200, "page /metrics")
	f("GET", "/metrics?x=1", 200, "page /metrics")
	f("GET", "/metrics/", 404, noPath)
	f("GET", "/nothing", 404, noPath)
	f("HEAD", "/nothing", 404, "")
	f("GET", "/health", 404, noPath) // no monitor, no report
	f("GET", "/health/ready", 404, noPath)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		f(method, "/health/live", 405, noMethod)
	}
	f("POST", "/nothing", 405, noMethod)
}

// TestServer_NothingBesides: net/http answers nothing by itself, and waits for nothing that no
// handler needs.
func TestServer_NothingBesides(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, Config{}, func(s *Server) { s.http.ReadTimeout = time.Hour })
	for _, head := range []string{
		"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nthe rest never comes",
		"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthe",
	} {
		conn := dial(t, addr)
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, " 405 ") {
			t.Errorf("%.20q: got %q, %v, want 405", head, line, err)
		}
	}
}

// TestServer_BusyEnds: what is answered without a turn ends its connection. A client that guesses
// passwords would otherwise be told to wait as fast as it asks.
func TestServer_BusyEnds(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, Config{Access: Access{Login: newLogin("op", "right")}}, func(s *Server) {
		s.guesses.by[netip.MustParsePrefix("127.0.0.1/32")] = &guesser{wrong: freeGuesses, next: time.Now().Add(time.Hour)}
	})
	conn := dial(t, addr)
	if _, err := io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eDp5\r\n\r\n", 3)); err != nil {
		t.Fatal(err)
	}
	answers, _ := io.ReadAll(conn)
	if got := strings.Count(string(answers), "HTTP/1.1 503 "); got != 1 {
		t.Errorf("%d answers of 503 to 3 requests on a connection, want 1: %q", got, answers)
	}
}

func TestServer_Panic(t *testing.T) {
	t.Parallel()
	var counted atomic.Int32
	addr, log := serve(t, Config{Panicked: func() { counted.Add(1) }}, func(s *Server) {
		s.Handle("/early", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "3")
			brokenHandler()
		}))
		s.Handle("/late", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "half")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			panic("late")
		}))
		s.Handle("/abort", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	})
	for range 3 {
		resp, body := request(t, "GET", "http://"+addr+"/early")
		if want := "{\n  \"error\": \"internal error\"\n}\n"; resp.StatusCode != 500 || body != want {
			t.Errorf("got %d %q, want 500 %q", resp.StatusCode, body, want)
		}
	}
	get := func(path string) error {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(httptest.NewRequest("GET", "http://"+addr+path, nil))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	for _, path := range []string{"/late", "/abort"} {
		if err := get(path); err == nil {
			t.Errorf("%s: got a whole answer, want one that is cut off", path)
		}
	}
	if resp, _ := request(t, "GET", "http://"+addr+"/health/live"); resp.StatusCode != 200 {
		t.Errorf("after the panics: got %d, want 200", resp.StatusCode)
	}

	if n := counted.Load(); n != 4 {
		t.Errorf("%d panics counted, want 4: an answer cut off on purpose is none", n)
	}
	var lines []map[string]any
	for line := range strings.Lines(log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want one for each kind of panic:\n%s", len(lines), log)
	}
	if l := lines[0]; l["level"] != "ERROR" || l["error"] != "panic: broken" || l["error_type"] != "panic" ||
		l["path"] != "/early" || !strings.Contains(fmt.Sprint(l["stack"]), "brokenHandler") {
		t.Errorf("got %v, want the panic, its path and its stack", l)
	}
}

func brokenHandler() { panic("broken") }

func TestListen_Faults(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := func(addr string, want error, wantText string) {
		t.Helper()
		cfg := Config{Key: "health.collectord_listen", Progress: NewProgress(0, nil), Log: slog.New(slog.DiscardHandler)}
		s, err := Listen(addr, cfg)
		if err == nil {
			s.Close()
			t.Fatalf("%q: got no error", addr)
		}
		if !strings.HasSuffix(err.Error(), wantText) || (want != nil && !errors.Is(err, want)) {
			t.Errorf("%q: got %v, want %v … %s", addr, err, want, wantText)
		}
	}
	f(taken.Addr().String(), syscall.EADDRINUSE, "another program uses this port; stop it or change health.collectord_listen")
	f("192.0.2.1:9100", syscall.EADDRNOTAVAIL, "this machine does not have this address; change health.collectord_listen")
	f("127.0.0.1", nil, "missing port in address: change health.collectord_listen")
	f("127.0.0.1:70000", nil, "invalid port: change health.collectord_listen")
	f("", nil, "set health.collectord_listen to host:port")
	if got := bindRemedy(syscall.EACCES, "k"); got != "ports below 1024 need privileges; change k" {
		t.Errorf("got %q", got)
	}
	if _, err := Listen("127.0.0.1:0", Config{}); err == nil {
		t.Error("an empty Config: got no error")
	}
}
