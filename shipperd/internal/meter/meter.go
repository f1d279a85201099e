// Package meter estimates what connections cost on the link: the bytes of IP packets both ways,
// which is what a mobile operator counts. It takes the kernel's counts of each connection where
// there are any (TCP_INFO of tcp(7), Linux 4.19 and newer), else the bytes of the stream and what
// their packets must have had as headers. It adds what no connection shows: the packets of its end
// and the lookup of the name. It does not see what the kernel sends after a connection was closed,
// nor what lies below IP.
package meter

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Sizes of headers and of packets without data, in bytes.
const (
	ip4Header  = 20 // RFC 791
	ip6Header  = 40 // RFC 8200
	tcpHeader  = 20 // RFC 9293
	timestamps = 12 // with padding, RFC 7323: in all packets where both sides have them
	// synOptions are more than timestamps in the first packet of each side: maximum segment size,
	// selective acknowledgements, window scale.
	synOptions = 8
	// segment is the data of a packet on most links.
	segment = 1400
	// A lookup asks for IPv4 and IPv6. Beside the name, twice, in bytes: IP and UDP, header of DNS,
	// question, and EDNS; the answers have an address each, more or less.
	lookupSent, lookupReceived = 2 * (28 + 12 + 6 + 11), 2 * (28 + 12 + 6 + 11 + 16)
)

// Meter counts the connections that it wraps. Safe for use by several goroutines.
type Meter struct {
	mu             sync.Mutex
	sent, received int64 // of closed connections, and lookups
	open           map[*conn]struct{}
	local          netip.Addr // of the last connection
}

// New returns a meter that has counted nothing.
func New() *Meter { return &Meter{open: map[*conn]struct{}{}} }

// Dial returns a function that dials as dial does, and counts. nil is a net.Dialer with its
// defaults.
func (m *Meter) Dial(dial DialFunc) DialFunc {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		m.dialled(addr, err)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: nc, m: m}
		local, _ := netip.ParseAddrPort(nc.LocalAddr().String())
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open[c], m.local = struct{}{}, local.Addr().Unmap()
		return c, nil
	}
}

// DialFunc is that of http.Transport.DialContext.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialled counts the lookup of a name, and the packet that got no answer.
func (m *Meter) dialled(addr string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	host, _, _ := net.SplitHostPort(addr)
	if _, no := netip.ParseAddr(host); no != nil {
		m.sent += lookupSent + 2*int64(len(host))
		m.received += lookupReceived + 2*int64(len(host))
	}
	if err != nil {
		m.sent += ip4Header + tcpHeader + timestamps + synOptions
	}
}

// Total returns the bytes both ways so far. They never go back.
func (m *Meter) Total() (sent, received int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sent, received = m.sent, m.received
	for c := range m.open {
		s, r := c.usage()
		sent, received = sent+s, received+r
	}
	return sent, received
}

// Local returns the device's address in the last connection; not valid before the first.
func (m *Meter) Local() netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.local
}

// conn counts what the stream has, in case that the kernel does not tell.
type conn struct {
	net.Conn
	m              *Meter
	sent, received atomic.Int64
	told           [2]int64 // guarded by m.mu
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// Close counts the packets of the end, too: our FIN, the answer that has one, too, and its
// acknowledgement.
func (c *conn) Close() error {
	c.m.mu.Lock()
	if _, open := c.m.open[c]; open {
		sent, received := c.usage()
		end := int64(c.header())
		c.m.sent, c.m.received = c.m.sent+sent+2*end, c.m.received+received+end
		delete(c.m.open, c)
	}
	c.m.mu.Unlock()
	return c.Conn.Close()
}

// header is the size of the headers of a packet.
func (c *conn) header() int {
	if a, err := netip.ParseAddrPort(c.LocalAddr().String()); err == nil && a.Addr().Unmap().Is6() {
		return ip6Header + tcpHeader + timestamps
	}
	return ip4Header + tcpHeader + timestamps
}

// usage returns the bytes of the connection so far. Callers hold m.mu.
func (c *conn) usage() (sent, received int64) {
	sent, received = c.sent.Load(), c.received.Load()
	header := int64(c.header())
	if k, ok := kernelCounts(c.Conn); ok {
		if !k.timestamps {
			header -= timestamps
		}
		sent, received = max(sent, k.sent)+k.packetsOut*header, max(received, k.received)+k.packetsIn*header
	} else {
		// Each packet with data has its header, every second one its acknowledgement. Two are for
		// the handshake.
		out, in := (sent+segment-1)/segment, (received+segment-1)/segment
		sent, received = sent+(2+out+(in+1)/2)*header, received+(1+in+(out+1)/2)*header
	}
	c.told[0], c.told[1] = max(c.told[0], sent+synOptions), max(c.told[1], received+synOptions)
	return c.told[0], c.told[1]
}

// counts are the kernel's of one connection.
type counts struct {
	sent, received        int64 // bytes of data, those that were sent again included
	packetsOut, packetsIn int64
	timestamps            bool
}
