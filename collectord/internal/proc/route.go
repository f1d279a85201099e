package proc

import (
	"bytes"
	"errors"
	"math"
	"strconv"
)

// DefaultRoute is a route to everywhere.
type DefaultRoute struct {
	Interface []byte // valid until the next Read
	Metric    uint32 // the kernel takes the lowest
}

// Routes reads the default routes of IPv4 or IPv6 in the main table, of the same network namespace
// as NetDev. Routes of other tables, to which a rule may lead, are not in the file.
// Source: fib_route_seq_show in net/ipv4/fib_trie.c, rt6_info_route in net/ipv6/route.c.
type Routes struct {
	file  *File
	parse func([]byte, []DefaultRoute) ([]DefaultRoute, error)
	list  []DefaultRoute
}

// NewRoutes names the file of IPv4; nothing is opened yet.
func NewRoutes(fs FS) *Routes { return &Routes{file: NewFile(fs.netPath("route")), parse: parseRoutes} }

// NewRoutes6 names the file of IPv6; nothing is opened yet.
func NewRoutes6(fs FS) *Routes {
	return &Routes{file: NewFile(fs.netPath("ipv6_route")), parse: parseRoutes6}
}

// Read returns the default routes, none if there are none. A kernel without the protocol is
// ErrNotSupported. A bad line costs only itself.
func (r *Routes) Read() ([]DefaultRoute, error) {
	text, err := r.file.Read()
	if err != nil {
		return nil, notSupported(err)
	}
	r.list, err = r.parse(text, r.list[:0])
	return r.list, inFile(r.file.path, err)
}

// Flags of include/uapi/linux/route.h.
const (
	routeUp     = 0x1
	routeReject = 0x200
)

// Columns of the files. IPv6 has the interface behind them, IPv4 before.
const (
	routeDestination  = 0
	routeFlags        = 2
	routeMetric       = 5
	routeMask         = 6
	route6Destination = 0
	route6PrefixLen   = 1
	route6Metric      = 5
	route6Flags       = 8
)

var errNotDefault = errors.New("not a default route")

func parseRoutes(text []byte, list []DefaultRoute) ([]DefaultRoute, error) {
	header, text := NextLine(text)
	if !bytes.HasPrefix(header, []byte("Iface")) {
		return list, parseError(1, header, errHeader)
	}
	return parseDefaults(text, 2, list, func(line []byte) (r DefaultRoute, err error) {
		var rest []byte
		r.Interface, rest = NextField(line)
		var columns [routeMask + 1][]byte
		if _, err := cutFields(rest, columns[:]); err != nil {
			return r, err
		}
		metric, err := ParseUint(columns[routeMetric])
		flags, err2 := strconv.ParseUint(string(columns[routeFlags]), 16, 32)
		switch {
		case err != nil:
			return r, err
		case err2 != nil || metric > math.MaxUint32:
			return r, ErrRange
		case !allZero(columns[routeDestination]) || !allZero(columns[routeMask]) || flags&routeUp == 0 || flags&routeReject != 0:
			return r, errNotDefault
		}
		r.Metric = uint32(metric)
		return r, nil
	})
}

func parseRoutes6(text []byte, list []DefaultRoute) ([]DefaultRoute, error) {
	return parseDefaults(text, 1, list, func(line []byte) (r DefaultRoute, err error) {
		var columns [route6Flags + 1][]byte
		rest, err := cutFields(line, columns[:])
		if err != nil {
			return r, err
		}
		r.Interface, _ = NextField(rest)
		metric, err := strconv.ParseUint(string(columns[route6Metric]), 16, 32)
		flags, err2 := strconv.ParseUint(string(columns[route6Flags]), 16, 32)
		switch {
		case len(r.Interface) == 0:
			return r, errColumns
		case err != nil || err2 != nil:
			return r, ErrSyntax
		case !allZero(columns[route6Destination]) || !allZero(columns[route6PrefixLen]) || flags&routeUp == 0 || flags&routeReject != 0:
			return r, errNotDefault
		}
		r.Metric = uint32(metric)
		return r, nil
	})
}

// parseDefaults is parseLines without the routes that lead elsewhere.
func parseDefaults(text []byte, first int, list []DefaultRoute, parse func([]byte) (DefaultRoute, error)) ([]DefaultRoute, error) {
	var firstErr error
	for n := first; len(text) > 0; n++ {
		var line []byte
		line, text = NextLine(text)
		r, err := parse(line)
		switch {
		case err == nil:
			list = append(list, r)
		case firstErr == nil && !errors.Is(err, errNotDefault):
			firstErr = parseError(n, line, err)
		}
	}
	return list, firstErr
}

// cutFields cuts the next len(into) fields off line and returns what follows them.
func cutFields(line []byte, into [][]byte) (rest []byte, err error) {
	for i := range into {
		if into[i], line = NextField(line); len(into[i]) == 0 {
			return nil, errColumns
		}
	}
	return line, nil
}

// allZero reports whether a hexadecimal number is 0.
func allZero(hex []byte) bool { return len(bytes.Trim(hex, "0")) == 0 }
