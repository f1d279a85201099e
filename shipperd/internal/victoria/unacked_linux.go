package victoria

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unackedAtMost bounds how long the kernel keeps sending what the other side does not
// acknowledge. Otherwise it does so for more than a minute after the connection was closed, or
// its process killed, and a request that was abandoned long ago arrives when the network is back.
// It sets TCP_USER_TIMEOUT of tcp(7), which applies to orphaned connections, too.
func unackedAtMost(limit time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		control := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
		})
		return errors.Join(control, err)
	}
}
