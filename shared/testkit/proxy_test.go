package testkit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets, until its client closes.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// talk sends a word and reads it back.
func talk(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "word"); err != nil {
		t.Fatal(err)
	}
	hear(t, c)
}

func hear(t *testing.T, c net.Conn) {
	t.Helper()
	buf := make([]byte, 4)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "word" {
		t.Fatalf("read %q, %v", buf, err)
	}
}

func TestProxy_Passes(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, echo(t))
	var wg sync.WaitGroup
	for range 5 {
		c := dial(t, p.Addr())
		wg.Go(func() {
			const size = 1 << 20
			go func() {
				_, _ = c.ReadFrom(io.LimitReader(zeros{}, size))
				_ = c.CloseWrite()
			}()
			if n, err := io.Copy(io.Discard, c); n != size || err != nil {
				t.Errorf("%d bytes came back, %v, want %d and the end", n, err, size)
			}
		})
	}
	wg.Wait()
	if got, want := p.Stats(), (ProxyStats{5, 5 << 20, 5 << 20}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestProxy_CutAndRestore(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, echo(t))
	for range 2 {
		c := dial(t, p.Addr())
		talk(t, c)
		p.Cut()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("reading on a cut connection: %v, want a reset", err)
		}
		if c, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialling while cut: %v, %v, want it refused", c, err)
		}
		p.Restore()
		talk(t, dial(t, p.Addr()))
	}
}

func TestProxy_Reset(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, echo(t))
	c := dial(t, p.Addr())
	talk(t, c)
	p.Reset()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	talk(t, dial(t, p.Addr()))
}

func TestProxy_Route(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, "127.0.0.1:1") // nobody is there
	p.Route(echo(t))
	before := dial(t, p.Addr())
	talk(t, before)
	p.Route(echo(t))
	if _, err := before.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection to the old server: got %v, want a reset", err)
	}
	talk(t, dial(t, p.Addr()))
}

func TestProxy_Stall(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, echo(t))
	c := dial(t, p.Addr())
	talk(t, c)
	p.Stall()
	p.Stall()
	before := p.Stats()
	if _, err := io.WriteString(c, "word"); err != nil {
		t.Fatal(err)
	}
	late := dial(t, p.Addr()) // connects all the same
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came through a stall", n)
	}
	if got := p.Stats(); got.Up != before.Up || got.Down != before.Down {
		t.Errorf("stats %+v after %+v: something passed", got, before)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p.Restore()
	hear(t, c)
	talk(t, late)
	p.Stall()
	p.Cut() // ends what is stalled
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a cut after a stall left the connection open")
	}
}

func TestProxy_ServerAway(t *testing.T) {
	t.Parallel()
	p := StartProxy(t, FreeAddr(t))
	c, err := net.Dial("tcp", p.Addr())
	if err == nil { // the reset may come as early as in the dialling
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("with no server behind: %v, want a reset", err)
	}
}

func TestProxy_InFrontOfAServer(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{})
	p := StartProxy(t, vm.Addr())
	c := Client{BaseURL: p.URL()}
	if err := c.Import(lines(3)); err != nil {
		t.Fatal(err)
	}
	if up := p.Stats().Up; up < int64(len(lines(3))) {
		t.Errorf("%d bytes up, want the body and the headers at least", up)
	}
	p.Cut()
	Eventually(t, WaitLimit, "a refusal", func() error { // an idle connection of before is reset first
		if err := c.Health(); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("got %w, want refused", err)
		}
		return nil
	})
	if len(vm.Samples()) != 3 {
		t.Errorf("%d samples, want 3", len(vm.Samples()))
	}
}
