package sample

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// sensorSet reads sensors, which come and go. Each may fail or hang without effect on the others.
type sensorSet struct {
	uevents  *proc.Uevents
	folders  func() ([]string, error) // cheap: shows whether list would find something new
	list     func() ([]foundSensor, error)
	registry *Registry

	listed   time.Time // zero: list again at the next tick
	present  []string  // directories when sensors were listed
	absent   error     // proc.ErrNotSupported if there was nothing to list
	sensors  []*sensor // those that are read in each tick come first
	waiter   *waiter
	calls    []*call // of sensors
	eachTick int     // how many of them are read in each tick
	minute   minute  // in which the others were last read
}

// foundSensor is a sensor that is there now.
type foundSensor struct {
	reader
	metric string // its name in the Table
	labels []string
	rare   bool // read once a minute
	// several makes, where a reading is more than one value, what takes it apart. metric is then
	// not used.
	several func(reg *Registry) func(out *Batch, v float64)
	twin    *Series // if it is not in twins
}

// appendAttribute appends the sensor of a file that may not be there.
func appendAttribute(found []foundSensor, a *proc.Attribute, metric string, labels ...string) []foundSensor {
	if a == nil {
		return found
	}
	return append(found, foundSensor{reader: a, metric: metric, labels: labels, rare: a.Rare()})
}

type reader interface {
	Path() string
	// Read may hang.
	Read() (float64, error)
}

// sensor is what is kept of one sensor as long as it is there under its labels.
type sensor struct {
	reader
	key    string
	labels []string // valid UTF-8
	rare   bool
	add    func(out *Batch, v float64)
	call   *call

	value float64 // answer of call
	err   error
}

// newSensorSet makes the set of the sensors that list finds, which have a directory each
// below one of the directories at paths.
func newSensorSet(fs proc.FS, reg *Registry, list func() ([]foundSensor, error), paths ...string) *sensorSet {
	folders := func() ([]string, error) { return folderNames(paths) }
	return &sensorSet{uevents: proc.NewUevents(fs), folders: folders, list: list, registry: reg, waiter: newWaiter()}
}

// folderNames returns the sorted names in each directory that is there; os.ReadDir would also look
// at each of them.
func folderNames(paths []string) (all []string, err error) {
	for _, path := range paths {
		f, openErr := os.Open(path)
		if openErr != nil {
			continue // the list reports it
		}
		names, readErr := f.Readdirnames(-1)
		err = cmp.Or(err, readErr)
		f.Close()
		slices.Sort(names)
		all = append(append(all, path), names...)
	}
	return all, err
}

// collect reads all sensors. It is proc.ErrNotSupported if the kernel has none
// of this kind.
func (t *sensorSet) collect(at time.Time, out *Batch) error {
	if t.isStale(at) {
		err := t.relist(at, out.ignore)
		if err := out.failPart(len(t.sensors), err); err != nil {
			return err
		}
	}
	if t.absent != nil {
		return t.absent
	}
	calls, withRare := t.calls[:t.eachTick], false
	if t.minute.begins(at) {
		calls, withRare = t.calls, true
	}
	t.waiter.call(at, calls)
	for _, s := range t.sensors {
		switch {
		case s.rare && !withRare && s.call.answered && s.err == nil:
			// Its value was added when it was read.
		case !s.call.answered:
			out.Fail(s.call.timeout(s.Path(), at), s.labels...)
		case s.err == nil:
			s.add(out, s.value)
		case errors.Is(s.err, proc.ErrNotSupported):
			// Switched off: nothing to say, and nothing wrong.
		case t.isGone(s):
		default:
			out.Fail(s.err, s.labels...)
		}
	}
	return nil
}

// isGone reports whether a sensor failed because its device was unplugged, which
// is no fault. Another one may have taken its place, so that the next tick looks
// what there is.
func (t *sensorSet) isGone(s *sensor) bool {
	if !errors.Is(s.err, os.ErrNotExist) && !errors.Is(s.err, syscall.ENODEV) {
		return false
	}
	t.listed = time.Time{}
	_, err := os.Stat(filepath.Dir(s.Path()))
	return errors.Is(err, os.ErrNotExist)
}

// isStale reports whether it is time to list the sensors. Once a minute a look at
// the directories suffices, if there were uevents at all: a new sensor has a new one, and one that
// took the directory of another made the reading of that fail.
func (t *sensorSet) isStale(at time.Time) bool {
	if t.listed.IsZero() {
		return true
	}
	if at.Sub(t.listed) < relistInterval {
		return false
	}
	t.listed = at
	if !t.uevents.Moved() {
		return false
	}
	folders, err := t.look()
	return err != nil || !slices.Equal(folders, t.present)
}

// look lists the directories, after the number of events was read.
func (t *sensorSet) look() ([]string, error) {
	folders, err := t.folders()
	t.uevents.Settle() // a directory is there before its event
	return folders, err
}

// relist looks which sensors there are now, without those to ignore, which are never read. A
// known one keeps its state, above all a call that hangs.
func (t *sensorSet) relist(at time.Time, ignore Ignored) error {
	t.listed = time.Time{}
	t.uevents.Moved() // before the list, as the look: what comes in between shows next time
	t.present, _ = t.look()
	found, err := t.list()
	t.absent = nil
	if errors.Is(err, proc.ErrNotSupported) {
		t.absent, err = err, nil
	}
	if err != nil && len(found) == 0 {
		return err // the known sensors stay
	}
	known := make(map[string]*sensor, len(t.sensors))
	for _, s := range t.sensors {
		known[s.key] = s
	}
	t.sensors, t.calls, t.eachTick = nil, nil, 0
	slices.SortStableFunc(found, func(a, b foundSensor) int { return -trueFirst(a.rare, b.rare) })
	for _, f := range found {
		if ignore.has(f.labels...) {
			continue
		}
		s := known[f.key()]
		if s == nil {
			s = t.newSensor(f)
			t.minute = minute{}
		}
		t.sensors = append(t.sensors, s)
		t.calls = append(t.calls, s.call)
		if !s.rare {
			t.eachTick = len(t.calls)
		}
	}
	if err == nil {
		t.listed = at
	}
	return err
}

func (t *sensorSet) newSensor(f foundSensor) *sensor {
	labels := make([]string, len(f.labels))
	for i, text := range f.labels {
		labels[i] = labelText(text)
	}
	s := &sensor{reader: f.reader, key: f.key(), labels: labels, rare: f.rare}
	if f.several != nil {
		s.add = f.several(t.registry)
	} else {
		series := t.registry.Series(f.metric, labels...)
		series.twin = cmp.Or(f.twin, series.twin)
		s.add = func(out *Batch, v float64) { out.Add(series, v) }
	}
	s.call = newCall(func() { s.value, s.err = s.Read() })
	return s
}

// key identifies a sensor: another one behind the same path has other labels.
func (f foundSensor) key() string { return f.Path() + "\x00" + strings.Join(f.labels, "\x00") }
