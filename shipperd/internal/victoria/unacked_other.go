//go:build !linux

package victoria

import (
	"syscall"
	"time"
)

// unackedAtMost is implemented for Linux only.
func unackedAtMost(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
