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

// link reads the state of the interfaces that the collector network samples, and which of them has
// the default route.
type link struct {
	sensors          *sensorSet
	include, exclude []*regexp.Regexp
	max              int
	families         []*routeFamily
}

// routeFamily is the default routes of IPv4 or of IPv6.
type routeFamily struct {
	name    string
	routes  *proc.Routes
	devices map[string]*routeDevice // that have or had one
	list    []*routeDevice
	minute  minute // in which they were last read: a table may be long
	absent  error  // proc.ErrNotSupported if there was no such file
}

// routeDevice is an interface that has a default route, or had one since collectord started.
type routeDevice struct {
	series *Series
	has    bool
	metric uint32 // the lowest, if it has
}

// NewLink returns the collector "link". Which interfaces it takes is configured as for NewNetwork.
func NewLink(fs proc.FS, reg *Registry, cfg config.NetworkConfig) (Collector, error) {
	include, err1 := compileNames("network.include", cfg.Include)
	exclude, err2 := compileNames("network.exclude", cfg.Exclude)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	c := &link{include: include, exclude: exclude, max: cfg.MaxInterfaces}
	c.sensors = newSensorSet(fs, reg, func() ([]foundSensor, error) { return c.list(fs, reg) }, fs.SysPath("class/net"))
	c.families = []*routeFamily{
		{name: "ipv4", routes: proc.NewRoutes(fs), devices: map[string]*routeDevice{}},
		{name: "ipv6", routes: proc.NewRoutes6(fs), devices: map[string]*routeDevice{}},
	}
	return c, nil
}

// list returns what there is of the interfaces: of those with hardware first, as NewNetwork does
// it.
func (c *link) list(fs proc.FS, reg *Registry) (found []foundSensor, err error) {
	names, _ := folderNames([]string{fs.SysPath("class/net")})
	type candidate struct {
		name     string
		physical bool
	}
	var wanted []candidate
	for i, name := range names {
		if i > 0 && (matchesAny(c.include, name) || !matchesAny(c.exclude, name)) { // 0 is the directory
			wanted = append(wanted, candidate{name, proc.IsPhysical(fs, name)})
		}
	}
	slices.SortFunc(wanted, func(a, b candidate) int {
		return cmp.Or(trueFirst(a.physical, b.physical), cmp.Compare(a.name, b.name))
	})
	for _, w := range wanted[:min(len(wanted), c.max)] {
		n := proc.NewNetClass(fs, w.name)
		if n.Up != nil {
			found = append(found, foundSensor{reader: n.Up, labels: []string{w.name}, several: addUp(w.name)})
		}
		found = appendAttribute(found, n.CarrierChanges, "network.carrier_changes_total", w.name)
		found = appendAttribute(found, n.Speed, "network.speed_bytes_per_second", w.name)
		if node := reg.node("netclass"); node != nil {
			for name, a := range map[string]*proc.Attribute{
				"node_network_mtu_bytes": n.MTU, "node_network_carrier": n.Carrier, "node_network_receive_nohandler_total": n.NoHandler,
			} {
				if a != nil {
					found = append(found, foundSensor{reader: a, labels: []string{w.name, name}, rare: a.Rare(), several: node.sensor(name, "device", w.name)})
				}
			}
		}
	}
	if len(found) == 0 {
		err = proc.ErrNotSupported
	}
	return found, err
}

// addUp takes the state of an interface. What the driver does not say is 0 for node_exporter.
func addUp(name string) func(reg *Registry) func(out *Batch, v float64) {
	return func(reg *Registry) func(out *Batch, v float64) {
		up, node := reg.Series("network.up", labelText(name)), reg.node("netclass").columns([]nodeColumn{{"node_network_up", 1}}, "device", name)
		return func(out *Batch, v float64) {
			if v >= 0 {
				out.Add(up, v)
			}
			for _, s := range node {
				out.Add(s, max(0, v))
			}
		}
	}
}

// Name implements Collector.
func (c *link) Name() string { return "link" }

// Collect implements Collector. It is proc.ErrNotSupported if sysfs has no interface and procfs no
// routes.
func (c *link) Collect(at time.Time, out *Batch) error {
	absent := c.sensors.collect(at, out)
	for _, f := range c.families {
		switch err := f.collect(c.sensors.registry, at, out); {
		case err == nil:
			if errors.Is(absent, proc.ErrNotSupported) {
				absent = nil
			}
		case !errors.Is(err, proc.ErrNotSupported):
			out.Fail(err)
		}
	}
	return absent
}

// collect adds 1 for the interface that the kernel takes, and 0 for the others.
func (f *routeFamily) collect(reg *Registry, at time.Time, out *Batch) error {
	if !f.minute.begins(at) {
		return f.absent
	}
	f.absent = nil
	routes, err := f.routes.Read()
	switch {
	case errors.Is(err, proc.ErrNotSupported):
		f.absent = err
	case err != nil:
		f.minute = minute{} // fails in every tick until it works again
	}
	if err := out.failPart(len(routes), err); err != nil {
		return err
	}
	for _, d := range f.list {
		d.has = false
	}
	var best *routeDevice
	for i := range routes {
		d := f.devices[string(routes[i].Interface)]
		if d == nil {
			name := string(routes[i].Interface)
			d = &routeDevice{series: reg.Series("network.default_route", labelText(name), f.name)}
			f.devices[name] = d
			f.list = append(f.list, d)
		}
		if !d.has || routes[i].Metric < d.metric {
			d.has, d.metric = true, routes[i].Metric
		}
		if best == nil || d.metric < best.metric { // of equal ones the first
			best = d
		}
	}
	for _, d := range f.list {
		if d == best {
			out.Add(d.series, 1)
		} else {
			out.Add(d.series, 0)
		}
	}
	return nil
}
