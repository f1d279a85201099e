package sample

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// sensorSet reads the sensors of one kind, which come and go. Each may fail or hang
// without effect on the others.
type sensorSet struct {
	folders  func() ([]string, error) // cheap: shows whether list would find something new
	list     func() ([]foundSensor, error)
	registry *Registry
	metric   string // its name in the Table

	listed  time.Time // zero: list again at the next tick
	present []string  // directories when sensors were listed
	absent  error     // proc.ErrNotSupported if there was nothing to list
	sensors []*sensor
	waiter  *waiter
	calls   []*call // of sensors
}

// foundSensor is a sensor that is there now.
type foundSensor struct {
	reader
	labels []string
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
	series *store.Series
	call   *call

	value float64 // answer of call
	err   error
}

// newSensorSet makes the set of the sensors of a metric, which have a directory each
// below the directory at path.
func newSensorSet(reg *Registry, metric, path string, list func() ([]foundSensor, error)) *sensorSet {
	folders := func() ([]string, error) { return folderNames(path) }
	return &sensorSet{folders: folders, list: list, registry: reg, metric: metric, waiter: newWaiter()}
}

// folderNames returns the sorted names in a directory; os.ReadDir would also look at
// each of them.
func folderNames(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// collect reads all sensors. It is proc.ErrNotSupported if the kernel has none
// of this kind.
func (t *sensorSet) collect(at time.Time, out *Batch) error {
	if t.isStale(at) {
		err := t.relist(at)
		if err := out.failPart(len(t.sensors), err); err != nil {
			return err
		}
	}
	if t.absent != nil {
		return t.absent
	}
	t.waiter.call(at, t.calls)
	for _, s := range t.sensors {
		switch {
		case !s.call.answered:
			out.Fail(s.call.timeout(s.Path(), at))
		case s.err == nil:
			out.Add(s.series, s.value)
		case errors.Is(s.err, proc.ErrNotSupported):
			// Switched off: nothing to say, and nothing wrong.
		case t.isGone(s):
		default:
			out.Fail(s.err)
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

// isStale reports whether it is time to list the sensors. Each minute a look at
// the directories suffices: a new sensor has a new one, and one that took the directory
// of another made the reading of that fail.
func (t *sensorSet) isStale(at time.Time) bool {
	if t.listed.IsZero() {
		return true
	}
	if at.Sub(t.listed) < relistInterval {
		return false
	}
	t.listed = at
	folders, err := t.folders()
	return err != nil || !slices.Equal(folders, t.present)
}

// relist looks which sensors there are now. A known one keeps its state, above
// all a call that hangs.
func (t *sensorSet) relist(at time.Time) error {
	t.listed = time.Time{}
	t.present, _ = t.folders() // before the list: what comes in between shows next time
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
	t.sensors, t.calls = nil, nil
	for _, f := range found {
		s := known[f.key()]
		if s == nil {
			s = t.newSensor(f)
		}
		t.sensors = append(t.sensors, s)
		t.calls = append(t.calls, s.call)
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
	s := &sensor{reader: f.reader, key: f.key(), series: t.registry.Series(t.metric, labels...)}
	s.call = newCall(func() { s.value, s.err = s.Read() })
	return s
}

// key identifies a sensor: another one behind the same path has other labels.
func (f foundSensor) key() string { return f.Path() + "\x00" + strings.Join(f.labels, "\x00") }
