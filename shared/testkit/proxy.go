package testkit

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a network on loopback that fails on demand: it hands TCP connections
// on to a server. All its methods may be called from any goroutine, also while
// connections are in use.
type Proxy struct {
	t    testing.TB
	addr string

	mu       sync.Mutex
	target   string
	listener net.Listener // nil while cut
	links    map[*link]bool
	flow     chan struct{} // closed while bytes may pass
	stats    ProxyStats
	rate     int          // bytes a second each way, 0 = any
	free     [2]time.Time // when the next bytes may pass, each way
	wg       sync.WaitGroup
}

// ProxyStats counts what has passed.
type ProxyStats struct {
	Connections int
	Up          int64 // bytes from clients to the server, HTTP headers included
	Down        int64 // bytes from the server to clients
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	broken         chan struct{}
	once           sync.Once
}

// StartProxy starts a proxy in front of a server, "host:port". It ends with the
// test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, addr: FreeAddr(t), target: target, links: map[*link]bool{}, flow: make(chan struct{})}
	close(p.flow)
	p.Restore()
	t.Cleanup(func() {
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Addr returns the proxy's host:port.
func (p *Proxy) Addr() string { return p.addr }

// URL returns the proxy's address for an HTTP client.
func (p *Proxy) URL() string { return "http://" + p.addr }

// Stats returns what has passed so far.
func (p *Proxy) Stats() ProxyStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Cut resets all connections and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	if l != nil {
		l.Close()
	}
	p.Reset()
}

// Reset resets the connections there are; new ones pass.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Route leads new connections to another server, and resets those there are: what a
// device sees that comes into another network.
func (p *Proxy) Route(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.Reset()
}

// Stall lets no byte through. Connections stay open, and new ones are taken: what
// a client sees of a network that loses packets.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
		p.flow = make(chan struct{})
	default: // stalled already
	}
}

// Limit lets so many bytes a second pass each way, for all connections together; 0 = any number.
func (p *Proxy) Limit(bytesPerSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytesPerSecond
}

// turn is how long n bytes have to wait.
func (p *Proxy) turn(way, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return 0
	}
	now := time.Now()
	if p.free[way].Before(now) {
		p.free[way] = now
	}
	p.free[way] = p.free[way].Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	return p.free[way].Sub(now)
}

// Restore ends a Cut or a Stall. What was held back by a stall arrives.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
	default:
		close(p.flow)
	}
	if p.listener != nil {
		return
	}
	var l net.Listener
	if err := poll(WaitLimit, func() (err error) {
		l, err = net.Listen("tcp", p.addr)
		return err
	}); err != nil {
		p.t.Errorf("open the proxy again: %v", err)
		return
	}
	p.listener = l
	p.wg.Go(func() { p.serve(l) })
}

func (p *Proxy) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil { // the server is away: so is what is behind the proxy
			(&link{client: client, server: client, broken: make(chan struct{})}).reset()
			continue
		}
		l := &link{client: client, server: server, broken: make(chan struct{})}
		p.mu.Lock()
		if p.listener != listener || p.target != target { // cut or routed elsewhere since it was accepted
			l.reset()
		}
		p.links[l] = true
		p.stats.Connections++
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(l) })
	}
}

// pass copies both ways until both ends have closed, or the link breaks.
func (p *Proxy) pass(l *link) {
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(l, l.server, l.client, &p.stats.Up, 0) })
	wg.Go(func() { p.pump(l, l.client, l.server, &p.stats.Down, 1) })
	wg.Wait()
	l.client.Close()
	l.server.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (p *Proxy) pump(l *link, to, from net.Conn, count *int64, way int) {
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		flow := p.flow
		p.mu.Unlock()
		select {
		case <-flow:
		case <-l.broken:
			return
		}
		if wait := p.turn(way, n); n > 0 && wait > 0 {
			select {
			case <-time.After(wait):
			case <-l.broken:
				return
			}
		}
		if n > 0 {
			// Counted first: a client that has the answer finds it counted.
			p.mu.Lock()
			*count += int64(n)
			p.mu.Unlock()
			if _, err := to.Write(buf[:n]); err != nil {
				l.reset()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // the other end may be gone
			}
			return
		case err != nil:
			l.reset()
			return
		}
	}
}

// reset ends both connections so that both ends see a reset.
func (l *link) reset() {
	l.once.Do(func() {
		close(l.broken)
		for _, c := range []net.Conn{l.client, l.server} {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			c.Close()
		}
	})
}
