package proc

import "errors"

// NetClass is the state of the link of an interface below /sys/class/net.
// Source: Documentation/ABI/testing/sysfs-class-net.
type NetClass struct {
	Up             *Attribute // 0 or 1, -1 where the driver does not say
	CarrierChanges *Attribute
	Speed          *Attribute // bytes per second; not supported without a link, or by the driver

	MTU       *Attribute // bytes
	Carrier   *Attribute // 0 or 1; not supported while the interface is down
	NoHandler *Attribute // packets received for which there is no protocol handler
}

var (
	errOperstate = errors.New("not a state of a link")
	errStatus    = errors.New("not a status of a power supply")
)

// NewNetClass names the files of an interface; nothing is opened yet. Nil is what there is not.
func NewNetClass(fs FS, name string) NetClass {
	dir := fs.SysPath("class/net", name)
	return NetClass{
		Up:             newAttribute(dir+"/operstate", parseOperstate),
		CarrierChanges: rarely(newAttribute(dir+"/carrier_changes", whole)), // misses nothing: it counts
		Speed:          rarely(newAttribute(dir+"/speed", parseSpeed)),
		MTU:            rarely(newAttribute(dir+"/mtu", whole)),
		Carrier:        rarely(newAttribute(dir+"/carrier", whole)),
		NoHandler:      newAttribute(dir+"/statistics/rx_nohandler", whole),
	}
}

// parseOperstate reads a state of RFC 2863. "unknown" is what drivers leave that do not care, as
// those of tunnels and of many modems, which may pass packets all the same: -1.
func parseOperstate(text []byte) (float64, error) {
	line, _ := NextLine(text)
	switch string(line) {
	case "up":
		return 1, nil
	case "unknown":
		return -1, nil
	case "down", "lowerlayerdown", "dormant", "notpresent", "testing":
		return 0, nil
	}
	return 0, parseError(0, line, errOperstate)
}

// parseSpeed reads Mbit/s; -1 (which old kernels print as an unsigned number) and 0 are "unknown".
func parseSpeed(text []byte) (float64, error) {
	v, err := whole(text)
	if err == nil && (v <= 0 || v == 1<<32-1) {
		return 0, ErrNotSupported
	}
	return v * 1e6 / 8, err
}
