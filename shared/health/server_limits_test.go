package health

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/testkit"
)

// TestServer_PortIsFree: after Run and after Close the port can be bound again.
func TestServer_PortIsFree(t *testing.T) {
	t.Parallel()
	cfg := Config{Key: "k", Progress: NewProgress(0, nil), Log: slog.New(slog.DiscardHandler)}
	first, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr := first.Addr()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := first.Run(ctx); err != nil {
		t.Errorf("Run with a context that has ended: got %v, want nil", err)
	}
	second, err := Listen(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run after Close: got %v, want %v", err, net.ErrClosed)
	}
	third, err := Listen(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	third.Close()
}

// TestServer_StopsInTime has a client that never ends its request and a handler that never ends its
// answer.
func TestServer_StopsInTime(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	cfg := Config{Key: "k", Progress: NewProgress(0, nil), Log: slog.New(slog.DiscardHandler)}
	s, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Handle("/hang", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	for _, text := range []string{"GET /hea", "GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		conn := dial(t, s.Addr())
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	cancel()
	select { // neither the client nor the handler ends before the server does
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testkit.WaitLimit):
		t.Error("the server waits for them")
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestServer_Bounds(t *testing.T) {
	t.Parallel()
	s, err := Listen("127.0.0.1:0", Config{Key: "k", Progress: NewProgress(0, nil), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := s.http
	for _, d := range []time.Duration{h.ReadHeaderTimeout, h.ReadTimeout, h.WriteTimeout, h.IdleTimeout} {
		if d <= 0 || d > time.Minute {
			t.Errorf("got a time limit of %v, want one above 0 and up to a minute", d)
		}
	}

	addr, _ := serve(t, Config{}, nil)
	conn := dial(t, addr)
	// The server hangs up in the middle of this.
	_, _ = io.WriteString(conn, "GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 4*maxHeaderBytes)+"\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "431") {
		t.Errorf("a header of %d bytes: got %q (%v), want 431", 4*maxHeaderBytes, line, err)
	}
}

// TestServer_Complaints: what net/http has to say goes into the log, and not a hundred times.
func TestServer_Complaints(t *testing.T) {
	t.Parallel()
	log := &testkit.Buffer{}
	logger, err := logx.New(log, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Listen("127.0.0.1:0", Config{Key: "k", Progress: NewProgress(0, nil), Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 100 {
		s.http.ErrorLog.Print("http: Accept error: too many open files")
	}
	got := log.String()
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, `"error":"http: Accept error: too many open files"`) {
		t.Errorf("got %q, want one line with the text", got)
	}
}
