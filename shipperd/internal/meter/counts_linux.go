package meter

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelCounts reads TCP_INFO; false where the kernel is older than 4.2 and counts no packets. The
// bytes are there since 4.19, 0 before. See include/uapi/linux/tcp.h.
func kernelCounts(c net.Conn) (k counts, ok bool) {
	sc, isTCP := c.(syscall.Conn)
	if !isTCP {
		return k, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return k, false
	}
	var info *unix.TCPInfo
	failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if failed != nil || err != nil || info.Segs_out == 0 {
		return k, false
	}
	return counts{
		sent: int64(info.Bytes_sent), received: int64(info.Bytes_received),
		packetsOut: int64(info.Segs_out), packetsIn: int64(info.Segs_in),
		timestamps: info.Options&1 != 0, // TCPI_OPT_TIMESTAMPS
	}, true
}
