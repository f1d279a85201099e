package health

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	maxConns   = 64
	spareConns = 32                     // beyond them, for /health/live alone
	newTime    = time.Second            // for which a new connection does not count as idle
	roomTime   = 250 * time.Millisecond // for which a spare connection stays open at least
)

// client is a connection.
type client struct {
	conn  net.Conn
	from  netip.Prefix
	state http.ConnState
	since time.Time // when that began
	spare bool      // only /health/live is answered
	begin time.Time // when it was accepted
}

// busy reports whether a request is under way, or is about to come.
func (c *client) busy(now time.Time) bool {
	return c.state == http.StateActive || c.state == http.StateNew && now.Sub(c.since) < newTime
}

// conns are the open connections. None is refused: when there are too many, the one that is idle
// for longest is closed, of an address that has more than its share. Where none is idle, the latest
// request of such an address makes room for an address that has less, and any other new connection
// is a spare one.
type conns struct {
	full func(from netip.Prefix) // called for each connection that goes, or is a spare one

	mu     sync.Mutex
	open   map[net.Conn]*client
	change chan struct{} // a connection became idle or was closed
}

func newConns(full func(netip.Prefix)) *conns {
	return &conns{full: full, open: map[net.Conn]*client{}, change: make(chan struct{}, 1)}
}

type connKey struct{}

// withConn puts a connection into the context of its requests.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// spare reports whether a request came over a spare connection.
func (c *conns) spare(r *http.Request) bool {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	return known != nil && known.spare
}

// follow follows the states of a connection.
func (c *conns) follow(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.add(conn)
		return
	case http.StateActive, http.StateIdle:
		if known := c.open[conn]; known != nil {
			known.state, known.since = state, time.Now()
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
	select {
	case c.change <- struct{}{}:
	default:
	}
}

func (c *conns) add(conn net.Conn) {
	added := &client{conn: conn, from: addressOf(conn.RemoteAddr()), state: http.StateNew, since: time.Now()}
	added.begin = added.since
	c.open[conn] = added
	if len(c.open) <= maxConns {
		return
	}
	victim := c.victim(added)
	if victim == nil {
		added.spare = true
		c.full(added.from)
		if len(c.open) <= maxConns+spareConns {
			return
		}
		victim = c.oldestSpare()
	} else {
		c.full(victim.from)
	}
	delete(c.open, victim.conn)
	_ = victim.conn.Close()
}

// victim finds the connection that goes for a new one; nil = there is none.
func (c *conns) victim(added *client) (worst *client) {
	counts := map[netip.Prefix]int{}
	for _, one := range c.open {
		counts[one.from]++
	}
	share := maxConns / len(counts)
	for _, one := range c.open {
		busy := one.busy(added.since)
		if one == added || counts[one.from] <= share || busy && counts[added.from] > share {
			continue
		}
		switch {
		case worst == nil || !busy && worst.busy(added.since):
			worst = one
		case busy == worst.busy(added.since) && one.since.Before(worst.since) != busy:
			worst = one
		}
	}
	return worst
}

// waitForRoom waits while all connections are busy, the spare ones too, until the oldest of these
// had its time. Meanwhile the kernel keeps the next ones: in each roomTime it gives spareConns, so
// that many clients do not make the way to /health/live long.
func (c *conns) waitForRoom() {
	for wait := c.crowded(); wait > 0; wait = c.crowded() {
		end := time.NewTimer(wait)
		select {
		case <-c.change:
		case <-end.C:
		}
		end.Stop()
	}
}

// crowded returns how long there is no room.
func (c *conns) crowded() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) < maxConns+spareConns {
		return 0
	}
	now := time.Now()
	for _, one := range c.open {
		if !one.busy(now) {
			return 0
		}
	}
	if oldest := c.oldestSpare(); oldest != nil {
		return oldest.begin.Add(roomTime).Sub(now)
	}
	return 0
}

func (c *conns) oldestSpare() (oldest *client) {
	for _, one := range c.open {
		if one.spare && (oldest == nil || one.begin.Before(oldest.begin)) {
			oldest = one
		}
	}
	return oldest
}

// addressOf returns the address of a client. One client may have a whole /64 of IPv6.
func addressOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // the number of bits is right
	return prefix
}

// pacedListener accepts connections as fast as there is room and their pace allows. The others wait
// in the kernel.
type pacedListener struct {
	net.Listener
	conns *conns
	lane  *lane
}

func (l pacedListener) Accept() (net.Conn, error) {
	l.conns.waitForRoom()
	conn, err := l.Listener.Accept()
	if l.lane.enter(context.Background()) {
		l.lane.leave()
	}
	return conn, err
}
