//go:build !linux

package meter

import "net"

// kernelCounts is known on Linux only.
func kernelCounts(net.Conn) (k counts, ok bool) { return k, false }
