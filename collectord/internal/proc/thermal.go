package proc

import (
	"errors"
	"os"
	"strings"
)

// ThermalZone is one zone below /sys/class/thermal: the SoC, a cluster of
// cores, the GPU, the NPU, a modem.
// Source: Documentation/driver-api/thermal/sysfs-api.rst.
type ThermalZone struct {
	Name string // "thermal_zone0"; numbers follow the order in which drivers load
	Type string // "cpu-thermal"; two zones may have the same, a few have none
	temp *File
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
		zones = append(zones, &ThermalZone{Name: entry.Name(), Type: typ, temp: NewSingle(dir + "/temp")})
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
func (z *ThermalZone) Path() string { return z.temp.Path() }

// Read reads the temperature. A zone whose sensor is off or broken is an
// error (the kernel returns EAGAIN, EINVAL, ENODATA, ENXIO and others), and so is
// a temperature that cannot be. It may hang as long as the driver does.
func (z *ThermalZone) Read() (float64, error) { return readMilliCelsius(z.temp) }

// Bounds of a temperature that a working sensor of a computer can report. Drivers
// were seen to report −32768 °C, −650788 °C and absolute zero for "no reading".
const (
	minCelsius = -100
	maxCelsius = 250
)

var errImplausible = errors.New("implausible temperature: want -100 to 250 °C in thousandths")

func readMilliCelsius(f *File) (float64, error) {
	text, err := f.Read()
	if err != nil {
		return 0, err
	}
	celsius, err := parseMilliCelsius(text)
	return celsius, inFile(f.Path(), err)
}

// parseMilliCelsius reads the one number of thousandths of a degree that a
// thermal zone or a hwmon sensor prints.
func parseMilliCelsius(text []byte) (float64, error) {
	line, _ := NextLine(text)
	field, rest := NextField(line)
	milli, err := ParseInt(field)
	if err != nil {
		return 0, parseError(0, line, err)
	}
	if extra, _ := NextField(rest); len(extra) > 0 {
		return 0, parseError(0, line, ErrSyntax)
	}
	celsius := float64(milli) / 1000
	if celsius < minCelsius || celsius > maxCelsius {
		return 0, parseError(0, line, errImplausible)
	}
	return celsius, nil
}
