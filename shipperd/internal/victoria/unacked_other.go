//go:build !linux

package victoria

import (
	"syscall"
	"time"
)

// unackedAtMost is known for Linux alone.
func unackedAtMost(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
