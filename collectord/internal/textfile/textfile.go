// Package textfile is the collector of files in the Prometheus text format that other programs
// write.
//
// It promises that a file counts as a whole or not at all, that a wrong one costs only itself, and
// that one which does not change costs one look at a tick. Samples without a timestamp are sampled
// at each tick, as long as their file is not too old; those with one are handed on until the store
// has decided about them (store.Dated).
package textfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"belabox-metrics/collectord/internal/sample"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
)

// Name is the key under collection.collectors.
const Name = "textfile"

const (
	// listEvery is how often the directory is read in any case.
	listEvery = time.Minute
	// settled is how old the last change of a directory must be, so that the next one has another
	// time.
	settled = 2 * time.Second
	// maxDated is how many samples with a timestamp are handed on of one file in one tick: they are
	// one transaction.
	maxDated = 1000
	// farAhead is how far ahead of the clock a timestamp may be without a word.
	farAhead = time.Hour
)

// deviceLabel is what the server gets of store.Series.Device.
const deviceLabel = "device_id"

// reasons for which samples are refused, with what is said of them.
var reasons = map[store.DatedFate]struct{ label, text string }{
	store.DatedTooOld:   {"old", "the timestamp is older than storage.retention, remote.max_past or the database"},
	store.DatedNowhere:  {"gap", "the device was off at the time of the timestamp, and its clock was wrong when it started"},
	store.DatedUnstored: {"value", "the value is not finite, or the database has too many series"},
}

// replaced is the reason of samples that were still to be stored when their file changed.
const replaced = "replaced"

// Collector implements sample.Collector.
type Collector struct {
	cfg      config.TextfileConfig
	registry *sample.Registry
	taken    func(metric string) bool

	files  map[string]*file // by path
	list   []*file          // by name
	more   error            // files that are too many
	dir    version
	listed time.Time

	changed bool                     // since assemble
	known   map[string]*store.Series // by name and tags
	refused map[string]float64       // samples by reason
	totals  map[string]*store.Series
}

// New returns the collector. taken says which names of metrics are the project's own.
func New(cfg config.TextfileConfig, registry *sample.Registry, taken func(metric string) bool) *Collector {
	c := &Collector{
		cfg: cfg, registry: registry, taken: taken, files: map[string]*file{},
		known: map[string]*store.Series{}, refused: map[string]float64{}, totals: map[string]*store.Series{},
	}
	total := func(label string) {
		c.totals[label] = registry.Series("textfile.samples_refused_total", label).Series
	}
	total(replaced)
	for _, r := range reasons {
		total(r.label)
	}
	return c
}

// Name implements sample.Collector.
func (c *Collector) Name() string { return Name }

// Collect implements sample.Collector.
func (c *Collector) Collect(at time.Time, out *sample.Batch) error {
	if err := c.look(at); err != nil {
		return fmt.Errorf("collection.textfile.directory: %w", err)
	}
	if c.more != nil {
		out.Fail(c.more, filepath.Base(c.cfg.Directory))
	}
	left := c.room()
	for _, f := range slices.Clone(c.list) {
		entries, changed, err := f.refresh(at, room{left.labels, left.bytes + f.bytes, left.samples + len(f.entries)})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.forget(f)
		case err != nil:
			f.refuse(version{}, err)
			c.resolve(f, nil)
		case changed:
			c.resolve(f, entries)
		default:
			continue
		}
		left = c.room()
	}
	if c.changed {
		c.assemble()
	}
	for _, f := range c.list {
		c.add(f, at, out)
	}
	for label, s := range c.totals {
		out.Samples = append(out.Samples, store.Sample{Series: s, Value: c.refused[label]})
	}
	return nil
}

// look reads the directory if it has changed.
func (c *Collector) look(at time.Time) error {
	info, err := os.Stat(c.cfg.Directory)
	if err != nil {
		return err
	}
	v := versionOf(info)
	if v == c.dir && at.Sub(c.listed) < listEvery {
		return nil
	}
	entries, err := os.ReadDir(c.cfg.Directory)
	if err != nil {
		return err
	}
	if c.listed = at; at.Sub(v.mtime).Abs() > settled {
		c.dir = v
	}
	there := map[string]bool{}
	c.more = nil
	for _, e := range entries { // by name
		name := e.Name()
		if !strings.HasSuffix(name, ".prom") || strings.HasPrefix(name, ".") {
			continue
		}
		if len(there) == maxFiles {
			c.more = fmt.Errorf("there are more than %d files; those from %s on are not read", maxFiles, human.Excerpt(name))
			break
		}
		path := filepath.Join(c.cfg.Directory, name)
		if there[path] = true; c.files[path] == nil {
			c.files[path] = c.newFile(path)
		}
	}
	for path, f := range c.files {
		if !there[path] {
			c.forget(f)
		}
	}
	c.list = slices.SortedFunc(maps.Values(c.files), func(a, b *file) int { return strings.Compare(a.path, b.path) })
	return nil
}

// room returns what the files leave for others.
func (c *Collector) room() room {
	left := room{maxLabels - 2 - len(c.registry.Labels), maxAllBytes, maxAllSamples}
	for _, f := range c.list {
		left.bytes -= f.bytes
		left.samples -= len(f.entries)
	}
	return left
}

func (c *Collector) forget(f *file) {
	c.resolve(f, nil)
	delete(c.files, f.path)
	c.list = slices.DeleteFunc(c.list, func(other *file) bool { return other == f })
}

func (c *Collector) newFile(path string) *file {
	f := &file{name: human.Printable(filepath.Base(path)), path: path} // whole: it is a label
	f.mtimeSeconds = c.registry.Series("textfile.mtime_seconds", f.name).Series
	f.failed = c.registry.Series("textfile.failed", f.name).Series
	f.seriesCount = c.registry.Series("textfile.series", f.name).Series
	return f
}

// moment is a time of a series.
type moment struct {
	series *store.Series
	ms     int64
}

// resolve gives a file its new content.
func (c *Collector) resolve(f *file, entries []entry) {
	c.changed = true
	waiting := map[moment]bool{}
	for _, r := range f.dated {
		if r.waits() {
			waiting[moment{r.Series, r.MS}] = true
		}
	}
	f.refused = faults{}
	f.entries = make([]resolved, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		switch {
		case math.IsNaN(e.value):
			continue // no value
		case math.IsInf(e.value, 0):
			c.refuse(f, e.line, store.DatedUnstored)
			continue
		}
		r := resolved{dated: e.dated, line: e.line}
		r.Series, r.Value, r.MS = c.seriesOf(e), e.value, e.ms
		f.entries = append(f.entries, r)
		delete(waiting, moment{r.Series, r.MS})
	}
	c.refused[replaced] += float64(len(waiting))
}

func (c *Collector) refuse(f *file, line int, why store.DatedFate) {
	c.refused[reasons[why].label]++
	f.refused.add(line, "sample refused: %s", reasons[why].text)
}

// seriesOf returns the series of an entry, the same one for the same labels. Labels that the device
// has itself are kept as exported_..., as Prometheus does it.
func (c *Collector) seriesOf(e *entry) *store.Series {
	tags := slices.Clip(e.labels)
	named := func(name string) bool {
		return slices.ContainsFunc(tags, func(t store.Tag) bool { return t.Name == name })
	}
	for i := range tags {
		name := tags[i].Name
		if _, own := c.registry.Labels[name]; !own && name != deviceLabel {
			continue
		}
		for named(name) {
			name = "exported_" + name
		}
		tags[i].Name = name
	}
	for name, value := range c.registry.Labels {
		tags = append(tags, store.Tag{Name: name, Value: value})
	}
	s := store.NewSeries(c.registry.Device, e.name, store.Number, tags...)
	key := s.Name + s.Tags
	if c.known[key] == nil {
		c.known[key] = s
	}
	return c.known[key]
}

// assemble decides which lines of which file count. Of two lines for one series the first one wins,
// in the order of the names of the files; a file that does not fit max_series any more is left out.
func (c *Collector) assemble() {
	c.changed = false
	owner := map[*store.Series]*resolved{}
	files := map[*store.Series]*file{}
	used := map[*store.Series]bool{}
	for _, f := range c.list {
		for i := range f.entries {
			used[f.entries[i].Series] = true
		}
		f.overlap, f.samples, f.dated, f.series = faults{}, f.samples[:0], nil, 0
		times := map[moment]bool{}
		var own []*store.Series
		for i := range f.entries {
			r := &f.entries[i]
			first := owner[r.Series]
			switch {
			case c.taken(r.Series.Name):
				f.overlap.add(r.line, "%s is a metric of belabox-metrics itself: rename it", r.Series.Name)
				continue
			case first == nil:
				owner[r.Series], files[r.Series] = r, f
				own = append(own, r.Series)
			case files[r.Series] != f || !first.dated || !r.dated:
				f.overlap.add(r.line, "the series is in %s already, line %d", files[r.Series].name, first.line)
				continue
			case times[moment{r.Series, r.MS}]:
				f.overlap.add(r.line, "the series has a sample with this timestamp already")
				continue
			}
			if len(owner) > c.cfg.MaxSeries {
				f.overlap = faults{}
				f.overlap.add(r.line, "more than %d series (collection.textfile.max_series): the file is left out", c.cfg.MaxSeries)
				for _, s := range own {
					delete(owner, s)
				}
				own, f.samples, f.dated = nil, f.samples[:0], nil
				break
			}
			if times[moment{r.Series, r.MS}] = r.dated; !r.dated {
				f.samples = append(f.samples, r.Sample)
			} else if r.waits() {
				f.dated = append(f.dated, r)
			}
		}
		f.series = len(own)
		slices.SortStableFunc(f.dated, func(a, b *resolved) int { return cmp.Compare(a.MS, b.MS) })
	}
	maps.DeleteFunc(c.known, func(_ string, s *store.Series) bool { return !used[s] })
}

// add adds what a file has for a tick.
func (c *Collector) add(f *file, at time.Time, out *sample.Batch) {
	var ahead faults
	f.dated = slices.DeleteFunc(f.dated, func(r *resolved) bool {
		if _, refused := reasons[r.Fate]; refused {
			c.refuse(f, r.line, r.Fate)
		}
		if r.waits() && r.MS-at.UnixMilli() > farAhead.Milliseconds() {
			ahead.add(r.line, "the timestamp is ahead of the clock, %s: the sample waits", time.UnixMilli(r.MS).UTC().Format(time.RFC3339))
		}
		return !r.waits()
	})
	for _, r := range f.dated[:min(len(f.dated), maxDated)] {
		out.Dated = append(out.Dated, &r.Dated)
	}
	fault := f.fault
	for _, more := range []*faults{&f.overlap, &f.refused, &ahead} {
		if fault == nil {
			fault = more.err()
		}
	}
	if old := at.Sub(f.written); len(f.samples) > 0 && c.cfg.MaxAge > 0 && old > c.cfg.MaxAge {
		if fault == nil {
			fault = fmt.Errorf("not written for more than %s (collection.textfile.max_age): its series have ended", human.Duration(c.cfg.MaxAge))
		}
	} else {
		out.Samples = append(out.Samples, f.samples...)
	}
	failed := 0.0
	if fault != nil {
		failed = 1
		out.Fail(fault, f.name)
	}
	out.Samples = append(out.Samples, store.Sample{Series: f.failed, Value: failed}, store.Sample{Series: f.seriesCount, Value: float64(f.series)})
	if !f.seen.mtime.IsZero() {
		out.Samples = append(out.Samples, store.Sample{Series: f.mtimeSeconds, Value: float64(f.seen.mtime.UnixMilli()) / 1000})
	}
}
