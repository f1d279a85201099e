package sample

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// DefaultNetworkExclude are the interfaces left out unless the configuration
// says otherwise: loopback, those of containers and virtual machines, Wi-Fi
// monitors, and modems. A box that lives on its modems includes "wwan.*".
var DefaultNetworkExclude = []string{
	`lo`, `docker.*`, `veth.*`, `br-.*`, `wlan.*mon`, `virbr.*`, `wwan.*`, `wwp.*`, `usb.*`,
}

// DefaultMaxInterfaces bounds how many interfaces are taken.
const DefaultMaxInterfaces = 32

// NetworkOptions are the configuration of the network collector. Include and
// Exclude are regular expressions for whole names. Include is asked first: an
// interface that matches it is taken whatever Exclude says. Any other is taken
// unless it matches Exclude, so that one line brings a kind of interface back
// and the rest stays as it was; to take nothing else, exclude ".*".
type NetworkOptions struct {
	Include       []string
	Exclude       []string // nil: DefaultNetworkExclude; empty: none
	MaxInterfaces int      // 0: DefaultMaxInterfaces
}

// Numbers of the metrics in networkMetrics. Those of one interface come first.
const (
	networkReceiveBytes = iota
	networkTransmitBytes
	networkReceivePackets
	networkTransmitPackets
	networkReceiveErrors
	networkTransmitErrors
	networkReceiveDrops
	networkTransmitDrops
	networkReceiveBytesRate
	networkTransmitBytesRate
	networkReceivePacketsRate
	networkTransmitPacketsRate
	interfaceMetricCount

	networkInterfacesDropped = interfaceMetricCount
)

var networkLabels = []string{"interface"}

var networkMetrics = []*Metric{
	networkReceiveBytes: {
		Name: "network.receive_bytes_total", Kind: KindCounter, Unit: "bytes", Labels: networkLabels,
		Help:   "Bytes received since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkTransmitBytes: {
		Name: "network.transmit_bytes_total", Kind: KindCounter, Unit: "bytes", Labels: networkLabels,
		Help:   "Bytes sent since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkReceivePackets: {
		Name: "network.receive_packets_total", Kind: KindCounter, Labels: networkLabels,
		Help:   "Packets received since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkTransmitPackets: {
		Name: "network.transmit_packets_total", Kind: KindCounter, Labels: networkLabels,
		Help:   "Packets sent since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkReceiveErrors: {
		Name: "network.receive_errors_total", Kind: KindCounter, Labels: networkLabels,
		Help:   "Packets that arrived broken, since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkTransmitErrors: {
		Name: "network.transmit_errors_total", Kind: KindCounter, Labels: networkLabels,
		Help:   "Packets that could not be sent, since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkReceiveDrops: {
		Name: "network.receive_drops_total", Kind: KindCounter, Labels: networkLabels,
		Help:   "Good packets that were thrown away on arrival, those that the hardware had no room for included, since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkTransmitDrops: {
		Name: "network.transmit_drops_total", Kind: KindCounter, Labels: networkLabels,
		Help:   "Packets that were thrown away instead of being sent, since the interface appeared.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkReceiveBytesRate: {
		Name: "network.receive_bytes_per_second", Kind: KindGauge, Unit: "bytes per second", Labels: networkLabels,
		Help:   "Bytes received per second since the last reading. No sample at the first reading and after a reset or wrap of a counter; drivers that count in 32 bits wrap every 4 GiB.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkTransmitBytesRate: {
		Name: "network.transmit_bytes_per_second", Kind: KindGauge, Unit: "bytes per second", Labels: networkLabels,
		Help:   "Bytes sent per second since the last reading.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkReceivePacketsRate: {
		Name: "network.receive_packets_per_second", Kind: KindGauge, Unit: "per second", Labels: networkLabels,
		Help:   "Packets received per second since the last reading.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkTransmitPacketsRate: {
		Name: "network.transmit_packets_per_second", Kind: KindGauge, Unit: "per second", Labels: networkLabels,
		Help:   "Packets sent per second since the last reading.",
		Source: "/proc/net/dev", Collector: "network",
	},
	networkInterfacesDropped: {
		Name: "network.interfaces_dropped_total", Kind: KindCounter,
		Help:   "Interfaces left out because there were more than network.max_interfaces, since collectord started. Each counts once for each time that it loses its place or comes and finds none, not once a tick: 40 interfaces with 32 places make 8.",
		Source: "/proc/net/dev", Collector: "network",
	},
}

// network reads /proc/net/dev.
type network struct {
	fs               proc.FS
	registry         *Registry
	include, exclude names
	max              int
	stats            *proc.NetDev
	devices          *devices[netInterface]
	present          []*netInterface // of this tick, beside the entries of stats; nil = not to be taken
	dropped          uint64          // see networkInterfacesDropped
	droppedSeries    *store.Series
}

// netInterface is what is kept of one interface.
type netInterface struct {
	name     string
	wanted   bool // by the names in the configuration
	physical bool
	place    place
	series   [interfaceMetricCount]*store.Series // nil until it has a place
	growth   growth
}

// place tells whether an interface has one of the max_interfaces places.
type place int

const (
	placeNone    place = iota // not yet decided
	placeTaken                // sampled
	placeRefused              // left out, and counted
)

// NewNetwork returns the collector "network". Wrong options are an error that
// names all of them.
func NewNetwork(fs proc.FS, reg *Registry, opt NetworkOptions) (Collector, error) {
	if opt.Exclude == nil {
		opt.Exclude = DefaultNetworkExclude
	}
	if opt.MaxInterfaces == 0 {
		opt.MaxInterfaces = DefaultMaxInterfaces
	}
	include, err1 := compileNames("network.include", opt.Include)
	exclude, err2 := compileNames("network.exclude", opt.Exclude)
	var err3 error
	if opt.MaxInterfaces < 0 {
		err3 = fmt.Errorf("network.max_interfaces: %d: want 1 or more", opt.MaxInterfaces)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	c := &network{
		fs: fs, registry: reg, include: include, exclude: exclude, max: opt.MaxInterfaces,
		stats:         proc.NewNetDev(fs),
		droppedSeries: reg.Series(networkMetrics[networkInterfacesDropped]),
	}
	c.devices = newDevices(c.newInterface)
	return c, nil
}

func (c *network) newInterface(name string) *netInterface {
	n := &netInterface{name: name, wanted: c.include.match(name) || !c.exclude.match(name)}
	if n.wanted {
		n.physical = proc.IsPhysical(c.fs, name)
	}
	return n
}

// Name implements Collector.
func (c *network) Name() string { return "network" }

// Collect implements Collector.
func (c *network) Collect(at time.Time, out *Batch) error {
	stats, err := c.stats.Read()
	if err := out.failPart(len(stats), err); err != nil {
		return err
	}
	c.devices.begin()
	c.present = c.present[:0]
	changed := false
	for i := range stats {
		n, created := c.devices.see(stats[i].Name)
		if n != nil && !n.wanted {
			n = nil
		}
		c.present = append(c.present, n)
		changed = changed || n != nil && created
	}
	if c.devices.end() || changed {
		c.givePlaces(out)
	}
	for _, n := range c.devices.left {
		if n.place == placeTaken {
			out.Gone = append(out.Gone, labelText(n.name))
		}
	}
	for i, n := range c.present {
		if n != nil && n.place == placeTaken {
			n.add(at, &stats[i], out)
		}
	}
	out.Add(c.droppedSeries, float64(c.dropped))
	return nil
}

// givePlaces decides which interfaces are taken if there are too many: the
// physical first, then those that have a place already, so that a container
// which comes and goes moves nobody, then by name, so that a restart decides
// the same.
func (c *network) givePlaces(out *Batch) {
	wanted := slices.DeleteFunc(slices.Clone(c.present), func(n *netInterface) bool { return n == nil })
	slices.SortFunc(wanted, func(a, b *netInterface) int {
		return cmp.Or(
			trueFirst(a.physical, b.physical),
			trueFirst(a.place == placeTaken, b.place == placeTaken),
			cmp.Compare(a.name, b.name),
		)
	})
	for i, n := range wanted {
		switch {
		case i >= c.max && n.place != placeRefused:
			n.place = placeRefused
			n.growth = growth{} // a rate over the time without a place would be an old one
			c.dropped++
		case i < c.max && n.place != placeTaken:
			n.place = placeTaken
			if c.devices.round > 1 {
				out.Came = append(out.Came, labelText(n.name))
			}
			for m := range n.series {
				n.series[m] = c.registry.Series(networkMetrics[m], labelText(n.name))
			}
		}
	}
}

// trueFirst sorts what is true before what is false.
func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// add adds the totals of an interface and, where there are any, its rates.
func (n *netInterface) add(at time.Time, now *proc.NetDevStat, out *Batch) {
	out.Add(n.series[networkReceiveBytes], float64(now.ReceiveBytes))
	out.Add(n.series[networkTransmitBytes], float64(now.TransmitBytes))
	out.Add(n.series[networkReceivePackets], float64(now.ReceivePackets))
	out.Add(n.series[networkTransmitPackets], float64(now.TransmitPackets))
	out.Add(n.series[networkReceiveErrors], float64(now.ReceiveErrors))
	out.Add(n.series[networkTransmitErrors], float64(now.TransmitErrors))
	out.Add(n.series[networkReceiveDrops], float64(now.ReceiveDrops))
	out.Add(n.series[networkTransmitDrops], float64(now.TransmitDrops))

	seconds, ok := n.growth.update(at, now.ReceiveBytes, now.TransmitBytes, now.ReceivePackets, now.TransmitPackets)
	if !ok {
		return
	}
	out.Add(n.series[networkReceiveBytesRate], n.growth.perSecond(0, seconds))
	out.Add(n.series[networkTransmitBytesRate], n.growth.perSecond(1, seconds))
	out.Add(n.series[networkReceivePacketsRate], n.growth.perSecond(2, seconds))
	out.Add(n.series[networkTransmitPacketsRate], n.growth.perSecond(3, seconds))
}
