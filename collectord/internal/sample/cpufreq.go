package sample

import (
	"fmt"
	"strconv"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// frequencies reads the frequency of each core, once for cores that share one.
type frequencies struct {
	fs       proc.FS
	registry *Registry
	cores    []coreFrequency // by number
	policies map[string]*policy
}

// coreFrequency is a core and where its frequency comes from.
type coreFrequency struct {
	series *Series
	policy *policy   // nil = it has none
	looked time.Time // when policy was looked up
}

// policy is the frequency that the cores of a cluster share.
type policy struct {
	reader *proc.Reader[uint64]
	path   string
	at     time.Time // of hertz and err
	hertz  float64
	err    error
}

// policyRetry is how often a core without frequency scaling is looked at again:
// its driver may be a module that loads late.
const policyRetry = time.Minute

func newFrequencies(fs proc.FS, r *Registry) *frequencies {
	return &frequencies{fs: fs, registry: r, policies: map[string]*policy{}}
}

// collect adds the frequency of an online core.
func (f *frequencies) collect(id int, at time.Time, out *Batch) {
	for len(f.cores) <= id {
		f.cores = append(f.cores, coreFrequency{})
	}
	c := &f.cores[id]
	if c.policy == nil {
		if !c.looked.IsZero() && at.Sub(c.looked) < policyRetry {
			return
		}
		c.looked = at
		path, err := proc.CPUFreqPath(f.fs, id)
		if err != nil {
			return // the driver is not there, or not yet
		}
		if c.series == nil {
			c.series = f.registry.Series("cpu.frequency_hertz", strconv.Itoa(id))
		}
		c.policy = f.policy(path)
	}
	first := !c.policy.at.Equal(at) // of the cores that share it, in this tick
	if first {
		c.policy.read(at)
	}
	if c.policy.err == nil {
		out.Add(c.series, c.policy.hertz)
		return
	}
	if first {
		out.Fail(c.policy.err, c.series.parts...)
	}
	c.policy, c.looked = nil, time.Time{} // in the next tick it may be gone, or another one
}

func (f *frequencies) policy(path string) *policy {
	p := f.policies[path]
	if p == nil {
		p = &policy{path: path, reader: proc.NewCPUFreq(path)}
		f.policies[path] = p
	}
	return p
}

// read reads the frequency. A driver that does not know it prints 0, which is no
// frequency of a core that runs this code.
func (p *policy) read(at time.Time) {
	p.at = at
	khz, err := p.reader.Read()
	switch {
	case err != nil:
		p.err = err
	case *khz == 0:
		p.err = fmt.Errorf("read %s: the driver reports no frequency", p.path)
	default:
		p.hertz, p.err = float64(*khz)*1000, nil
	}
}
