package victoria

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUnackedAtMost(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&net.Dialer{Control: unackedAtMost(7 * time.Second)}).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	control := raw.Control(func(fd uintptr) { ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if control != nil || err != nil || ms != 7000 {
		t.Errorf("TCP_USER_TIMEOUT %d ms, %v, %v; want 7000", ms, control, err)
	}
}
