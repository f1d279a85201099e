package config

import (
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strconv"
)

// listenAddress is a parsed host:port.
type listenAddress struct {
	host string // an IP address or a name; empty for every address
	port uint16
}

// collides reports whether both cannot be listened on. Port 0 is a free port of
// the system's choice.
func (a listenAddress) collides(b listenAddress) bool {
	return a.port == b.port && a.port != 0 && (a.host == b.host || a.host == "" || b.host == "")
}

func (v *validator) listener(key, text string) listenAddress {
	address, err := parseListen(text)
	if err != nil {
		v.fault(key, "want an address such as 127.0.0.1:9100, got %q: %v", clip(text), err)
	}
	return address
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)

func parseListen(text string) (listenAddress, error) {
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		return listenAddress{}, errors.New("no host:port")
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return listenAddress{}, errors.New("the port is not a number from 0 to 65535")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.IsUnspecified():
		host = ""
	case err == nil:
		host = ip.String()
	case host == "localhost":
		host = "127.0.0.1"
	case host != "" && !hostName.MatchString(host):
		return listenAddress{}, errors.New("the host is neither an IP address nor a name")
	}
	return listenAddress{host: host, port: uint16(port)}, nil
}
