package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
)

// dial opens a connection and sends text.
func (ts *testServer) dial(t testing.TB, text string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// firstLine reads the status line; "" when the server closed without one. The test's own time limit is the guard.
func firstLine(conn net.Conn) string {
	text, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(text)
}

const importHead = "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"

// Clients that stop in the middle are dropped after the time limit, and meanwhile cost the others nothing.
func TestHostile_SlowClients(t *testing.T) {
	t.Parallel()
	ts := start(t, func(_ *Config, s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = 300*time.Millisecond, 600*time.Millisecond, 300*time.Millisecond
	})
	var slow []net.Conn
	for range 50 {
		slow = append(slow,
			ts.dial(t, ""), // says nothing
			ts.dial(t, "POST /api/v1/import HTTP/1.1\r\nX-Slow: "), // stops in its header
			ts.dial(t, importHead+sample("slow", 1, 0)),            // stops in its body
		)
	}
	for i := range 20 {
		if r := ts.post(t, sample("quick", 1, i)); r.status != 200 {
			t.Fatalf("got %d %s", r.status, r.body)
		}
	}
	for i, conn := range slow {
		got := firstLine(conn)
		if i%3 == 2 && got != "HTTP/1.1 408 Request Timeout" || i%3 == 0 && got != "" {
			t.Errorf("slow client %d: got %q", i, got)
		}
	}
	if got := ts.export(t, match("slow")); got != "" {
		t.Errorf("got %s, want nothing of the slow bodies stored", got)
	}
}

// A body that is cut leaves nothing behind, also not the lines that arrived whole.
func TestHostile_CutBody(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	conn := ts.dial(t, importHead+sample("cut", 1, 0)+sample("cut", 1, 1))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := firstLine(conn); got != "HTTP/1.1 400 Bad Request" {
		t.Errorf("got %q", got)
	}
	// Chunked, without the last chunk.
	conn = ts.dial(t, "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+
		fmt.Sprintf("%x\r\n%s\r\n", len(sample("cut", 1, 0)), sample("cut", 1, 0)))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := firstLine(conn); got != "HTTP/1.1 400 Bad Request" {
		t.Errorf("chunked: got %q", got)
	}
	if got := ts.export(t, match("cut")); got != "" {
		t.Errorf("got %s, want nothing", got)
	}
}

// A client that has closed its side of the connection may still read. It must not hear an empty 200, which would mean
// "all stored" after an import and "there is nothing" after an export.
func TestHostile_HalfClosed(t *testing.T) {
	t.Parallel()
	ts := start(t, func(c *Config, _ *http.Server) {
		c.Sink = sinkFunc(func(ctx context.Context, _ []line.Line) error { <-ctx.Done(); return ctx.Err() })
		c.Source = sourceFunc(func(ctx context.Context, _ store.Query, _ func(*store.Piece) error) error {
			<-ctx.Done()
			return ctx.Err()
		})
	})
	body := sample("a", 1, 0)
	f := func(request, want string) {
		t.Helper()
		conn := ts.dial(t, request)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := firstLine(conn); got != want {
			t.Errorf("%.20s: got %q, want %q", request, got, want)
		}
	}
	f(fmt.Sprintf("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body), "")
	f("GET /api/v1/export?match[]=a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 500 Internal Server Error")
}

func TestHostile_Requests(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	f := func(text, want string) {
		t.Helper()
		if got := firstLine(ts.dial(t, text)); got != want {
			t.Errorf("%.80q: got %q, want %q", text, got, want)
		}
	}
	f("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP at all\r\n\r\n", "HTTP/1.1 400 Bad Request")
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 Bad Request")
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 400 Bad Request")
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "HTTP/1.1 400 Bad Request")
	// Told to be too large, it is refused before it is sent.
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000\r\nExpect: 100-continue\r\n\r\n",
		"HTTP/1.1 413 Request Entity Too Large")
	f("GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 80<<10), "HTTP/1.1 431 Request Header Fields Too Large")
	f("GET /"+strings.Repeat("x", 10_000)+" HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found")
	f("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 Bad Request")
	f("POST /api/v1/export HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nmatch[]=%",
		"HTTP/1.1 400 Bad Request")
}

// Bombs at once stay within their memory: 20 of 100 MB each, where 64 MiB is the limit.
func TestHostile_Bombs(t *testing.T) {
	// Not parallel: it watches the memory of the process.
	ts := start(t, nil)
	bomb := zip(t, strings.Repeat("\n", 100<<20))
	long := zip(t, strings.Repeat("x", 100<<20))
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for range 10 {
		for _, body := range [][]byte{bomb, long} {
			wg.Go(func() {
				wantFault(t, ts.postGzip(t, body), 413, "")
			})
		}
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 256<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
}

// When the memory for bodies is used up, further ones are told to come back, and it is given free again.
func TestHostile_MemoryBudget(t *testing.T) {
	t.Parallel()
	in := newIntake(1000, 1000)
	in.maxHeld = 1500
	request := func(n int) (*hold, error) {
		h := &hold{in: in}
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(strings.Repeat("x", n)))
		_, err := in.read(httptest.NewRecorder(), r, h)
		return h, err
	}
	first, err := request(1000)
	if err != nil {
		t.Fatal(err)
	}
	second, err := request(1000)
	if err != error(errBusy) {
		t.Errorf("got %v, want %v", err, errBusy)
	}
	second.release()
	if third, err := request(400); err != nil {
		t.Errorf("a small one beside it: %v", err)
	} else {
		third.release()
	}
	first.release()
	if got := in.held.Load(); got != 0 {
		t.Errorf("%d bytes are still held", got)
	}
	// Samples count as much as the body they come from.
	h := &hold{in: in}
	b := batch{hold: h}
	err = b.readAll(&lineReader{r: bufio.NewReader(strings.NewReader(strings.Repeat(sample("a", 1, 0), 100)))})
	if err != error(errBusy) {
		t.Errorf("got %v, want %v", err, errBusy)
	}
	h.release()
	if got := in.held.Load(); got != 0 {
		t.Errorf("%d bytes are still held", got)
	}
}

// Requests of every kind and end give back what they held.
func TestHostile_NothingLeaks(t *testing.T) {
	t.Parallel()
	fail := false
	in := newIntake(DefaultMaxBodyBytes, DefaultMaxDecodedBytes)
	g := &gateway{intake: in, sink: sinkFunc(func(context.Context, []line.Line) error {
		if fail {
			panic("boom")
		}
		return nil
	})}
	g.stats = newStats(g)
	for _, body := range [][]byte{
		nil, []byte("x"), []byte(sample("a", 1, 0)), zip(t, sample("a", 1, 0)), zip(t, sample("a", 1, 0))[:20],
		zip(t, strings.Repeat("\n", 80<<20)), []byte(strings.Repeat("y\n", maxLines+1)),
	} {
		for _, encoding := range []string{"", "gzip", "br"} {
			for _, fail = range []bool{false, true} {
				r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/import", bytes.NewReader(body))
				r.Header.Set("Content-Encoding", encoding)
				func() {
					defer func() { _ = recover() }()
					_ = g.importLines(httptest.NewRecorder(), r, nil)
				}()
				if in.held.Load() != 0 || len(in.decoder) != 0 {
					t.Fatalf("%.20q, %q: %d bytes and %d places are still held", body, encoding, in.held.Load(), len(in.decoder))
				}
			}
		}
	}
}

// Many clients at once, good and bad mixed: every good sample is stored, no client hears of another's faults.
func TestHostile_Mixed(t *testing.T) {
	t.Parallel()
	ts := start(t, nil)
	const clients, chunks = 8, 15
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := range chunks {
				switch name := fmt.Sprintf("m%d", c); c % 4 {
				case 0, 1:
					r := ts.postGzip(t, zip(t, sample(name, 1, n)+sample(name, 1, 1000+n)))
					if r.body != `{"accepted":2,"rejected":0,"lines":[]}`+"\n" {
						t.Errorf("good client: got %d %s", r.status, r.body)
					}
				case 2:
					r := ts.post(t, sample(name, 1, n)+"rubbish\n"+sample(name, 1, 1000+n))
					if !strings.HasPrefix(r.body, `{"accepted":2,"rejected":1,`) {
						t.Errorf("half good client: got %d %s", r.status, r.body)
					}
				case 3:
					wantFault(t, ts.postGzip(t, []byte(sample(name, 1, n))), 400, "not gzip")
				}
			}
		})
	}
	wg.Wait()
	for c := range clients {
		want := 2 * chunks
		if c%4 == 3 {
			want = 0
		}
		if got := strings.Count(ts.export(t, match(fmt.Sprintf("m%d", c))), "17000000"); got != want {
			t.Errorf("client %d: got %d samples, want %d", c, got, want)
		}
	}
}

// readAll reads what comes until the other side closes.
func readAll(conn net.Conn) string {
	text, _ := io.ReadAll(conn)
	return string(text)
}
