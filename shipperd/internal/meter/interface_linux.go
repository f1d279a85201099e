package meter

import (
	"bufio"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Interface returns the name of the interface that has an address; "" if that cannot be found out.
// It does without netlink, which the sandbox of the unit does not allow.
func Interface(addr netip.Addr) string {
	if addr.Is6() {
		return interface6(addr)
	}
	links, err := os.ReadDir("/sys/class/net")
	if err != nil || !addr.IsValid() {
		return ""
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	for _, link := range links {
		req, err := unix.NewIfreq(link.Name())
		if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFADDR, req) != nil { // netdevice(7)
			continue
		}
		if a, err := req.Inet4Addr(); err == nil && netip.AddrFrom4([4]byte(a)) == addr {
			return link.Name()
		}
	}
	return ""
}

// interface6 reads if_inet6 of /proc/net: an address in hexadecimal digits, and last the name.
func interface6(addr netip.Addr) string {
	f, err := os.Open("/proc/thread-self/net/if_inet6")
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // it was read
	raw := addr.As16()
	want := hex.EncodeToString(raw[:])
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) == 6 && fields[0] == want {
			return fields[5]
		}
	}
	return ""
}
