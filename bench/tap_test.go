//go:build bench

package bench

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// tap is an HTTP/1.1 server's address that hands everything on as it is, and counts the bytes by
// what they are for.
type tap struct {
	listener net.Listener
	target   string

	mu          sync.Mutex
	connections int
	import_     passed
	read        passed
}

// passed is what some requests and their answers took, in bytes as TCP carries them.
type passed struct {
	requests         int64
	heads, bodies    int64 // to the server; a head is the request line and the headers
	answers, content int64 // from the server: heads and bodies
}

func (p passed) both() int64 { return p.heads + p.bodies + p.answers + p.content }

func startTap(b *testing.B, target string) *tap {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	t := &tap{listener: l, target: target}
	go t.accept()
	b.Cleanup(func() { l.Close() })
	return t
}

func (t *tap) url() string { return "http://" + t.listener.Addr().String() }

// stats returns what imports and reads took so far, over how many connections.
func (t *tap) stats() (imports, reads passed, connections int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.import_, t.read, t.connections
}

func (t *tap) accept() {
	for {
		client, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.count(func() { t.connections++ })
		go t.serve(client)
	}
}

func (t *tap) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", t.target)
	if err != nil {
		return
	}
	defer server.Close()
	asked := make(chan *http.Request, 1)
	go func() {
		defer client.Close()
		down := newMeter(server, client)
		for req := range asked {
			resp, err := http.ReadResponse(down.Reader, req)
			if err != nil {
				return
			}
			head := down.taken()
			io.Copy(io.Discard, resp.Body) //nolint:errcheck // the next head shows it
			content := down.taken()
			t.count(func() {
				p := t.kind(req)
				p.answers, p.content = p.answers+head, p.content+content
			})
		}
	}()
	defer close(asked)
	up := newMeter(client, server)
	for {
		req, err := http.ReadRequest(up.Reader)
		if err != nil {
			return
		}
		head := up.taken()
		io.Copy(io.Discard, req.Body) //nolint:errcheck // the next head shows it
		body := up.taken()
		t.count(func() {
			p := t.kind(req)
			p.requests, p.heads, p.bodies = p.requests+1, p.heads+head, p.bodies+body
		})
		asked <- req
	}
}

func (t *tap) kind(req *http.Request) *passed {
	if strings.HasSuffix(req.URL.Path, "/import") {
		return &t.import_
	}
	return &t.read
}

func (t *tap) count(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// meter hands on what is read, at once, and tells how much was parsed.
type meter struct {
	*bufio.Reader
	from, to  net.Conn
	read, was int64
}

func newMeter(from, to net.Conn) *meter {
	m := &meter{from: from, to: to}
	m.Reader = bufio.NewReader(readerFunc(m.pass))
	return m
}

func (m *meter) pass(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.read += int64(n)
	if _, err := m.to.Write(p[:n]); err != nil {
		return 0, err
	}
	return n, err
}

// taken returns the bytes that were parsed since the last call.
func (m *meter) taken() int64 {
	parsed := m.read - int64(m.Buffered())
	n := parsed - m.was
	m.was = parsed
	return n
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
