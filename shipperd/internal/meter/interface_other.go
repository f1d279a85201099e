//go:build !linux

package meter

import (
	"net"
	"net/netip"
)

// Interface returns the name of the interface that has an address; "" if that cannot be found out.
func Interface(addr netip.Addr) string {
	links, _ := net.Interfaces()
	for _, link := range links {
		addrs, _ := link.Addrs()
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == addr.WithZone("") {
				return link.Name
			}
		}
	}
	return ""
}
