package sample

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// fakeSensor is a sensor for tests.
type fakeSensor struct {
	path    string
	celsius float64
	err     error
	hang    chan struct{} // nil: does not hang
}

func (s *fakeSensor) Path() string { return s.path }

func (s *fakeSensor) Read() (float64, error) {
	if s.hang != nil {
		<-s.hang
	}
	return s.celsius, s.err
}

// fakeZones is the collector thermal over a list of sensors that a test changes.
type fakeZones struct {
	thermal
	found  []foundSensor
	err    error
	listed int
}

func newFakeZones(found ...foundSensor) *fakeZones {
	f := &fakeZones{found: found}
	f.zones = newSensorSet(proc.FS{Sys: "/nonexistent"}, testDevice, func() ([]foundSensor, error) {
		f.listed++
		return f.found, f.err
	})
	f.zones.folders = func() ([]string, error) {
		var names []string
		for _, s := range f.found {
			names = append(names, s.key())
		}
		return names, nil
	}
	return f
}

func zone(s *fakeSensor, typ string) foundSensor {
	if s.path == "" {
		s.path = "/sys/class/thermal/none/temp" // a folder that is not there
	}
	return foundSensor{reader: s, metric: "thermal.zone_celsius", labels: []string{"z", typ}}
}

const zonePrefix = "thermal.zone_celsius"

func zoneKey(typ string) string {
	return fmt.Sprintf(`thermal.zone_celsius{"type":%q,"zone":"z"}`, typ)
}

func TestSensors_HangingSensorSilencesNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		dead := &fakeSensor{celsius: 70, hang: release}
		zones := newFakeZones(zone(dead, "npu"), zone(&fakeSensor{celsius: 40}, "soc"))
		m := newMachine(t)
		start := time.Now()
		for i := range 3 * 60 { // past the times at which the sensors are listed anew
			r := m.tick(zones)
			r.wantFaults(t, 1)
			r.want(t, zonePrefix, map[string]float64{zoneKey("soc"): 40})
			if i == 10 && !strings.Contains(fmt.Sprint(r.errs), "no answer for 10s") {
				t.Errorf("got %v", r.errs)
			}
		}
		if took := time.Since(start); took != callTimeout {
			t.Errorf("waited %v for a dead sensor, want %v once", took, callTimeout)
		}
		close(release)
		synctest.Wait()
		r := m.tick(zones)
		r.wantFaults(t, 0)
		r.want(t, zonePrefix, map[string]float64{zoneKey("soc"): 40, zoneKey("npu"): 70})
	})
}

func TestSensors_EachErrorIsOfOneSensor(t *testing.T) {
	t.Parallel()
	var found []foundSensor
	faults := []error{syscall.EAGAIN, syscall.EINVAL, syscall.ENXIO, syscall.EIO, syscall.ETIMEDOUT, errors.New("garbage")}
	for _, err := range faults {
		found = append(found, zone(&fakeSensor{err: err}, err.Error()))
	}
	found = append(found,
		zone(&fakeSensor{err: fmt.Errorf("off: %w", proc.ErrNotSupported)}, "off"),
		zone(&fakeSensor{celsius: 0}, "ice"))
	zones := newFakeZones(found...)
	m := newMachine(t)
	for range 3 {
		r := m.tick(zones)
		r.wantFaults(t, len(faults))
		r.want(t, zonePrefix, map[string]float64{zoneKey("ice"): 0})
	}
	if zones.listed != 1 {
		t.Errorf("listed %d times, want once", zones.listed)
	}
}

func TestSensors_ComeAndGo(t *testing.T) {
	t.Parallel()
	soc := &fakeSensor{celsius: 40}
	modem := &fakeSensor{celsius: 60}
	zones := newFakeZones(zone(soc, "soc"))
	m := newMachine(t)
	m.tick(zones)
	zones.found = append(zones.found, zone(modem, "modem"))
	m.tick(zones).want(t, zonePrefix, map[string]float64{zoneKey("soc"): 40})
	m.at = m.at.Add(relistInterval)
	m.tick(zones).want(t, zonePrefix, map[string]float64{zoneKey("soc"): 40, zoneKey("modem"): 60})

	// Unplugged: its file answers ENODEV and its folder is gone. That is no fault.
	modem.err = &os.PathError{Op: "read", Path: modem.path, Err: syscall.ENODEV}
	zones.found = zones.found[:1]
	for range 2 {
		r := m.tick(zones)
		r.wantFaults(t, 0)
		r.want(t, zonePrefix, map[string]float64{zoneKey("soc"): 40})
	}
	if zones.listed != 3 {
		t.Errorf("listed %d times, want 3: at first, after a minute, after ENODEV", zones.listed)
	}

	// The last one goes too, and another kind of sensor takes its number.
	soc.err = os.ErrNotExist
	zones.found = nil
	zones.err = proc.ErrNotSupported
	m.tick(zones).wantFaults(t, 0)
	if r := m.tick(zones); !errors.Is(r.err, proc.ErrNotSupported) || len(r.errs) > 0 {
		t.Errorf("no sensors: got %v, %v", r.err, r.errs)
	}
	zones.found, zones.err = []foundSensor{zone(&fakeSensor{celsius: 50}, "gpu")}, nil
	m.at = m.at.Add(relistInterval)
	m.tick(zones).want(t, zonePrefix, map[string]float64{zoneKey("gpu"): 50})
}

// TestSensors_ReplacedUnderItsName is about a zone that is taken away while
// another one gets its number: the new temperature must not come out under the
// old type for longer than the tick that notices.
func TestSensors_ReplacedUnderItsName(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/temp" // its folder is there all the time
	old := &fakeSensor{path: path, celsius: 40}
	zones := newFakeZones(zone(old, "old"))
	m := newMachine(t)
	m.tick(zones)
	old.err = syscall.ENODEV
	zones.found = []foundSensor{zone(&fakeSensor{path: path, celsius: 90}, "new")}
	r := m.tick(zones)
	r.wantFaults(t, 1)
	r.want(t, zonePrefix, map[string]float64{})
	r = m.tick(zones)
	r.wantFaults(t, 0)
	r.want(t, zonePrefix, map[string]float64{zoneKey("new"): 90})
}

func TestSensors_ListFails(t *testing.T) {
	t.Parallel()
	zones := newFakeZones()
	zones.err = syscall.EACCES
	m := newMachine(t)
	for range 2 { // as long as it lasts
		if r := m.tick(zones); !errors.Is(r.err, syscall.EACCES) {
			t.Errorf("got %v", r.err)
		}
	}
	// A part of the list is better than none, and is not the whole truth.
	zones.found = []foundSensor{zone(&fakeSensor{celsius: 40}, "soc")}
	for range 2 {
		r := m.tick(zones)
		r.wantFaults(t, 1)
		r.want(t, zonePrefix, map[string]float64{zoneKey("soc"): 40})
	}
	// A list that fails later takes nothing away.
	zones.found = nil
	r := m.tick(zones)
	r.wantFaults(t, 1)
	r.want(t, zonePrefix, map[string]float64{zoneKey("soc"): 40})
}

// TestSensors_IgnoredIsNeverRead: also one that would hang.
func TestSensors_IgnoredIsNeverRead(t *testing.T) {
	t.Parallel()
	ignored, err := NewIgnored([]string{"npu", "z/gpu"})
	if err != nil {
		t.Fatal(err)
	}
	dead := make(chan struct{}) // never closed: a read would not end
	zones := newFakeZones(
		zone(&fakeSensor{hang: dead}, "npu"), zone(&fakeSensor{err: syscall.EIO}, "gpu"),
		zone(&fakeSensor{celsius: 40}, "soc"), zone(&fakeSensor{err: syscall.ENODATA}, "modem"))
	var b Batch
	b.Begin(time.Now(), ignored)
	if err := zones.Collect(time.Now(), &b); err != nil || len(b.Samples) != 1 || len(b.Errors) != 1 {
		t.Fatalf("got %v, %v, %v, want a sample of soc and a failure of modem", b.Samples, b.Errors, err)
	}
	if fault, ok := errors.AsType[*Fault](b.Errors[0]); !ok || fault.Name() != "z/modem" {
		t.Errorf("got %v", b.Errors[0])
	}
}
