package sample

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
)

// interfaceTotals and interfaceRates are in the order of the counters of add.
var (
	interfaceTotals = []string{
		"network.receive_bytes_total", "network.transmit_bytes_total",
		"network.receive_packets_total", "network.transmit_packets_total",
		"network.receive_errors_total", "network.transmit_errors_total",
		"network.receive_drops_total", "network.transmit_drops_total",
	}
	interfaceRates = []string{
		"network.receive_bytes_per_second", "network.transmit_bytes_per_second",
		"network.receive_packets_per_second", "network.transmit_packets_per_second",
	}
)

// network reads /proc/net/dev.
type network struct {
	fs               proc.FS
	registry         *Registry
	include, exclude []*regexp.Regexp
	max              int
	stats            *proc.NetDev
	uevents          *proc.Uevents
	devices          *devices[netInterface]
	present          []*netInterface // of this tick, beside the entries of stats; nil = not to be taken
	dropped          uint64          // see network.interfaces_dropped_total
	droppedSeries    *Series
}

// netInterface is what is kept of one interface.
type netInterface struct {
	name     string
	identity *proc.Identity
	index    uint64 // of identity; 0 = not known
	wanted   bool   // by the names in the configuration
	physical bool
	place    place

	totals, rates []*Series // nil until it has a place
	node          []*Series
	deltas        deltas
}

// place is whether an interface has one of the max_interfaces places.
type place int

const (
	placeNone    place = iota // not yet decided
	placeTaken                // sampled
	placeRefused              // left out, and counted
)

// NewNetwork returns the collector "network". Include takes precedence: an interface
// that matches it is sampled even if Exclude matches, and any other unless it matches
// Exclude. Wrong expressions are an error that names all of them.
func NewNetwork(fs proc.FS, reg *Registry, cfg config.NetworkConfig) (Collector, error) {
	include, err1 := compileNames("network.include", cfg.Include)
	exclude, err2 := compileNames("network.exclude", cfg.Exclude)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	c := &network{
		fs: fs, registry: reg, include: include, exclude: exclude, max: cfg.MaxInterfaces,
		stats:         proc.NewNetDev(fs),
		uevents:       proc.NewUevents(fs),
		droppedSeries: reg.Series("network.interfaces_dropped_total"),
	}
	c.devices = newDevices(c.newInterface)
	return c, nil
}

func (c *network) newInterface(name string) *netInterface {
	n := &netInterface{name: name, wanted: matchesAny(c.include, name) || !matchesAny(c.exclude, name)}
	if n.wanted {
		n.identity = proc.InterfaceIndex(c.fs, name)
		n.index = n.identity.Read()
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
	if c.uevents.Moved() && c.replaced(stats) { // the numbers may be of before that
		if stats, err = c.stats.Read(); err != nil && len(stats) == 0 {
			return err
		}
	}
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

// replaced forgets the interfaces that are others than in the previous tick under their names, as
// where two modems swap theirs, and returns whether there are any.
func (c *network) replaced(stats []proc.NetDevStat) (found bool) {
	complete := true
	for i := range stats {
		n := c.devices.get(stats[i].Name)
		if n == nil || n.place != placeTaken {
			continue
		}
		switch index := n.identity.Read(); {
		case index == n.index:
		case index == 0:
			complete = false // it is leaving, or another is coming
		case n.index == 0:
			n.index = index
		default:
			c.devices.replace(stats[i].Name)
			found = true
		}
	}
	if complete && !found { // else the numbers are read again, after which there may be others
		c.uevents.Settle()
	}
	return found
}

// givePlaces decides which interfaces are taken if there are too many: the physical first, then
// those that have a place already, so that a container which comes and goes displaces no other,
// then by name, so that the result is the same after a restart.
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
			n.deltas = deltas{} // a rate over the time without a place would be an old one
			c.dropped++
		case i < c.max && n.place != placeTaken:
			n.place = placeTaken
			if c.devices.round > 1 {
				out.Came = append(out.Came, labelText(n.name))
			}
			n.totals = c.registry.each(interfaceTotals, labelText(n.name))
			n.rates = c.registry.each(interfaceRates, labelText(n.name))
			n.node = c.registry.node("netdev").columns(netColumns, "device", n.name)
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
	counters := [...]uint64{
		now.ReceiveBytes, now.TransmitBytes, now.ReceivePackets, now.TransmitPackets,
		now.ReceiveErrors, now.TransmitErrors, now.ReceiveDrops, now.TransmitDrops,
	}
	for i, total := range n.totals {
		out.Add(total, number(counters[i]))
	}
	out.addColumns(n.node, now.Counts)
	seconds, ok := n.deltas.update(at, counters[:len(n.rates)]...)
	if !ok {
		return
	}
	for i, rate := range n.rates {
		out.Add(rate, n.deltas.perSecond(i, seconds))
	}
}
