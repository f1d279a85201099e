package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ThermalZone is one zone below /sys/class/thermal: the SoC, a cluster of
// cores, the GPU, the NPU, a modem.
// Source: Documentation/driver-api/thermal/sysfs-api.rst.
type ThermalZone struct {
	Name string // "thermal_zone0"; numbers follow the order in which drivers load
	Type string // "cpu-thermal"; two zones may have the same, a few have none
	dir  string
	temp *thermometer
}

// ThermalZones lists the zones there are now and reads no temperature. A kernel
// without zones is ErrNotSupported. A zone whose type cannot be read is listed
// without one, and its error is returned beside the list.
func ThermalZones(fs FS) ([]*ThermalZone, error) {
	entries, err := os.ReadDir(fs.SysPath("class/thermal"))
	if err != nil {
		return nil, notSupported(err)
	}
	var zones []*ThermalZone
	var firstErr error
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "thermal_zone") {
			continue // a cooling device
		}
		dir := fs.SysPath("class/thermal", entry.Name())
		typ, err := readOptional(dir + "/type")
		if firstErr == nil {
			firstErr = err
		}
		z := &ThermalZone{Name: entry.Name(), Type: typ, dir: dir}
		z.temp = &thermometer{file: NewSingle(dir + "/temp"), inDegrees: z.inDegrees}
		zones = append(zones, z)
	}
	return zones, firstErr
}

// readOptional reads a text that need not be there.
func readOptional(path string) (string, error) {
	text, err := ReadText(path)
	if errors.Is(err, ErrNotSupported) {
		err = nil
	}
	return text, err
}

// Path returns the file of the temperature.
func (z *ThermalZone) Path() string { return z.temp.file.Path() }

// Read reads the temperature. A broken sensor is an error (the kernel returns EAGAIN, EINVAL,
// ENODATA, ENXIO and others), and so is a temperature that cannot be. A zone that was switched off
// is ErrNotSupported. It may hang as long as the driver does.
func (z *ThermalZone) Read() (float64, error) {
	celsius, err := z.temp.read()
	if err != nil && z.isOff() {
		err = fmt.Errorf("%w: %s is switched off: %w", ErrNotSupported, z.Path(), err)
	}
	return celsius, err
}

func (z *ThermalZone) isOff() bool {
	mode, err := ReadText(z.dir + "/mode")
	return err == nil && mode == "disabled"
}

// inDegrees reports whether the trip points of the zone are in whole degrees: there are some, and
// all are below what any trip point is in thousandths.
func (z *ThermalZone) inDegrees() bool {
	for n := 0; ; n++ {
		text, err := ReadText(z.dir + "/trip_point_" + strconv.Itoa(n) + "_temp")
		if err != nil {
			return n > 0 && errors.Is(err, ErrNotSupported)
		}
		if trip, err := strconv.Atoi(text); err != nil || trip < minCelsius || trip > maxCelsius {
			return false
		}
	}
}

// Bounds of a temperature that a working sensor of a computer can report. Drivers
// were seen to report −32768 °C, −650788 °C and absolute zero for "no reading".
const (
	minCelsius = -100
	maxCelsius = 250
)

var (
	errImplausible = errors.New("implausible temperature: want -100 to 250 °C in thousandths")
	errUnit        = errors.New("thousandths or whole degrees? The sensor has never reported 1000 or more")
)

// thermometer reads a file of thousandths of a degree, as the kernel prescribes, and knows that the
// kernels of some vendors print whole degrees. A number below 1000 is a temperature in both units,
// so that it counts only if something else tells the unit: that the sensor has reported more, or
// its trip points.
type thermometer struct {
	file        *File
	inDegrees   func() bool // looked at where a reading could be either; nil = no
	thousandths bool        // for sure
}

func (t *thermometer) read() (float64, error) {
	text, err := t.file.Read()
	if err != nil {
		return 0, err
	}
	celsius, err := t.parse(text)
	return celsius, inFile(t.file.Path(), err)
}

func (t *thermometer) parse(text []byte) (float64, error) {
	line, _ := NextLine(text)
	field, rest := NextField(line)
	n, err := ParseInt(field)
	if err != nil {
		return 0, parseError(0, line, err)
	}
	if extra, _ := NextField(rest); len(extra) > 0 {
		return 0, parseError(0, line, ErrSyntax)
	}
	const lowest, highest = 1000 * minCelsius, 1000 * maxCelsius
	switch {
	case n < lowest || n > highest:
		return 0, parseError(0, line, errImplausible)
	case n <= -1000 || n >= 1000:
		t.thousandths = true
	case n == 0 || t.thousandths:
	case n < minCelsius || n > maxCelsius || t.inDegrees == nil || !t.inDegrees():
		return 0, parseError(0, line, errUnit)
	default:
		return float64(n), nil
	}
	return float64(n) / 1000, nil
}
