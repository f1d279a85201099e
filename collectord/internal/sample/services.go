package sample

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/config"
)

const (
	// maxServices is how many services have samples; a pattern may match more than was meant.
	maxServices = 100
	// serviceMemory is how long a service that only a pattern matches counts as down after it went.
	serviceMemory = time.Hour
)

// services reads the control groups of chosen units.
type services struct {
	fs       proc.FS
	registry *Registry
	patterns []config.ServicePattern
	groups   *proc.CGroups
	looked   time.Time // for units and how the hierarchies are mounted
	minute   minute    // in which memory and OOM kills were last read
	err      error     // of it
	byLabel  map[string]*service
	list     []*service // by label
}

// service is one unit, up or not.
type service struct {
	label, path string
	named       bool // in the configuration, not only matched by a pattern
	group       *proc.CGroup
	seen        time.Time // when it was last there; zero: never
	restarts    float64

	up, started, cpu, memory, kills, restartsTotal *Series
}

// NewServices returns the collector "services" for units that patterns match.
func NewServices(fs proc.FS, reg *Registry, patterns []string) (Collector, error) {
	c := &services{fs: fs, registry: reg, byLabel: make(map[string]*service)}
	var faults []error
	for _, p := range patterns {
		pattern, err := config.CompileService(p)
		if err != nil {
			faults = append(faults, fmt.Errorf("services: %q: %w", p, err))
			continue
		}
		c.patterns = append(c.patterns, pattern)
		if name, ok := pattern.Name(); ok {
			c.add(name, filepath.Join("system.slice", name)).named = true
		}
	}
	return c, errors.Join(faults...)
}

// Name implements Collector.
func (c *services) Name() string { return "services" }

// Collect implements Collector. It is proc.ErrNotSupported if no services are configured, or if
// there are no control groups.
func (c *services) Collect(at time.Time, out *Batch) error {
	if len(c.patterns) == 0 {
		return fmt.Errorf("%w: services is empty in the configuration", proc.ErrNotSupported)
	}
	if c.looked.IsZero() || at.Sub(c.looked) >= relistInterval {
		c.look(at)
	}
	if c.groups == nil {
		return c.err
	}
	if c.err != nil {
		out.Fail(c.err)
	}
	all := c.minute.begins(at)
	for _, s := range c.list {
		c.collect(s, at, all, out)
	}
	return nil
}

// look finds the units that there are now, and forgets those that are away for long.
func (c *services) look(at time.Time) {
	if c.groups, c.err = proc.NewCGroups(c.fs); c.err != nil {
		return
	}
	c.looked = at
	var units []string
	units, c.err = c.groups.Units()
	for label, s := range c.byLabel {
		if s.group == nil && !s.named && at.Sub(s.seen) > serviceMemory {
			delete(c.byLabel, label)
		}
	}
	for _, path := range units {
		name, label := filepath.Base(path), serviceLabel(path)
		if !slices.ContainsFunc(c.patterns, func(p config.ServicePattern) bool {
			_, isName := p.Name() // of a unit of the machine's systemd, not of a user's
			return p.Match(name) && (!isName || name == label)
		}) {
			continue
		}
		switch s := c.byLabel[label]; {
		case s != nil:
			s.path = path // in another slice than before
		case len(c.byLabel) < maxServices:
			c.add(label, path)
		case c.err == nil:
			c.err = fmt.Errorf("services: the patterns match more than %d units: name fewer", maxServices)
		}
	}
	c.list = c.list[:0]
	for _, s := range c.byLabel {
		c.list = append(c.list, s)
	}
	slices.SortFunc(c.list, func(a, b *service) int { return strings.Compare(a.label, b.label) })
}

// serviceLabel is the name of a unit. That of a user, where other users may have the same, has the
// user's in front: user@1000.service/belaUI.service.
func serviceLabel(path string) string {
	name := filepath.Base(path)
	for part := range strings.SplitSeq(filepath.Dir(path), "/") {
		if strings.HasPrefix(part, "user@") {
			name = part + "/" + name
		}
	}
	return name
}

func (c *services) add(label, path string) *service {
	if s := c.byLabel[label]; s != nil {
		return s
	}
	text := labelText(label)
	s := &service{
		label: text, path: path,
		up: c.registry.Series("services.up", text), started: c.registry.Series("services.start_time_seconds", text),
		cpu: c.registry.Series("services.cpu_seconds_total", text), memory: c.registry.Series("services.memory_bytes", text),
		kills: c.registry.Series("services.oom_kills_total", text), restartsTotal: c.registry.Series("services.restarts_total", text),
	}
	c.byLabel[label] = s
	return s
}

// collect reads a service. If its group went since the last tick, there may be another one already.
func (c *services) collect(s *service, at time.Time, all bool, out *Batch) {
	for range 2 {
		if s.group == nil && !c.open(s, out) {
			break
		}
		stats, err := s.group.Read(all)
		if errors.Is(err, os.ErrNotExist) {
			s.group.Close()
			s.group = nil
			continue
		}
		if err != nil {
			out.Fail(err, s.label)
			c.minute = minute{} // fails in every tick until it works again
		}
		s.seen = at
		s.addStats(&stats, out)
		return
	}
	out.Add(s.up, 0)
	out.Add(s.restartsTotal, s.restarts)
}

func (c *services) open(s *service, out *Batch) bool {
	group, err := c.groups.Open(s.path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			out.Fail(err, s.label)
		}
		return false
	}
	if !s.seen.IsZero() {
		s.restarts++
	}
	s.group = group
	return true
}

func (s *service) addStats(stats *proc.CGroupStats, out *Batch) {
	up := 0.0
	if stats.Populated {
		up = 1
		out.Add(s.started, float64(s.group.Started.UnixMilli())/1000)
	}
	out.Add(s.up, up)
	out.Add(s.restartsTotal, s.restarts)
	out.Add(s.cpu, stats.CPUSeconds)
	out.Add(s.memory, stats.MemoryBytes)
	out.Add(s.kills, stats.OOMKills)
}
