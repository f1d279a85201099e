package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// HwmonSensor is one sensor of one chip below /sys/class/hwmon.
// Source: Documentation/hwmon/sysfs-interface.rst.
type HwmonSensor struct {
	Dir    string // "hwmon0"; the number is another one after each boot
	Chip   string // what the driver calls the chip: "nvme", "rp1_adc"
	Device string // the last part of the chip's device: "nvme0"; "" if it has none
	// Where the chip's device is, without links: "/sys/devices/…/nvme/nvme0"; "" if it has none.
	DevicePath string

	Kind  string // "temp", "in" (volts), "fan", "curr" or "power"
	Name  string // "temp1"
	Label string // what the driver calls the sensor: "Composite"; often ""
	// Slow: a drive needs a command for each reading, which may keep it from sleeping; a thermal
	// zone is read as such already.
	Slow bool

	Input  *HwmonInput // nil if it has only alarms, as that of a Raspberry Pi's supply
	Limits []HwmonLimit
	Alarms []HwmonLimit
}

// HwmonLimit is a limit of a temperature, or whether a sensor is beyond one.
type HwmonLimit struct {
	Name string // "max", "crit", "lcrit"; "" for the alarm of a sensor as such
	*Attribute
}

// HwmonInput is what a sensor measures: °C, volts, rotations per minute, amperes or watts.
type HwmonInput struct {
	path   string
	read   func() (float64, error)
	fault  *File  // nil where the chip does not detect faults
	enable string // path of the switch, where there is one
}

// hwmonKinds says how many parts of a kind's unit its files have.
var hwmonKinds = map[string]float64{"temp": 1000, "in": 1000, "fan": 1, "curr": 1000, "power": 1e6}

// HwmonSensors lists the sensors of all chips there are now and reads none. A kernel without chips
// is ErrNotSupported. A name that cannot be read is left empty, and its error is returned beside
// the list.
func HwmonSensors(fs FS) ([]*HwmonSensor, error) {
	chips, err := os.ReadDir(fs.SysPath("class/hwmon"))
	if err != nil {
		return nil, notSupported(err)
	}
	zones, firstErr := fs.zoneChips()
	var sensors []*HwmonSensor
	for _, chip := range chips {
		found, err := chipSensors(fs.SysPath("class/hwmon", chip.Name()))
		for _, s := range found {
			isZone := zones[s.Chip] && (s.Device == "" || strings.HasPrefix(s.Device, "thermal_zone"))
			s.Slow = isZone || s.Chip == "nvme" || s.Chip == "drivetemp"
		}
		sensors = append(sensors, found...)
		if firstErr == nil {
			firstErr = err
		}
	}
	return sensors, firstErr
}

// zoneChips returns what the chips are called that the kernel makes of thermal zones.
// Source: thermal_add_hwmon_sysfs in drivers/thermal/thermal_hwmon.c.
func (fs FS) zoneChips() (map[string]bool, error) {
	zones, err := ThermalZones(fs)
	if errors.Is(err, ErrNotSupported) {
		err = nil
	}
	chips := map[string]bool{}
	for _, z := range zones {
		chips[strings.ReplaceAll(z.Type, "-", "_")] = true
	}
	return chips, err
}

func chipSensors(dir string) ([]*HwmonSensor, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // went since it was listed
		}
		return nil, err
	}
	chip, firstErr := readOptional(dir + "/name")
	device, err := os.Readlink(dir + "/device")
	if err == nil {
		device = filepath.Base(device)
	}
	path, _ := filepath.EvalSymlinks(dir + "/device") // "" if there is none
	var sensors []*HwmonSensor
	byName := map[string]*HwmonSensor{}
	for _, file := range files {
		name, kind, what := cutHwmon(file.Name())
		if kind == "" {
			continue
		}
		s := byName[name]
		if s == nil {
			s = &HwmonSensor{Dir: filepath.Base(dir), Chip: chip, Device: device, DevicePath: path, Kind: kind, Name: name}
			if s.Label, err = hwmonLabel(dir, chip, name); firstErr == nil {
				firstErr = err
			}
			byName[name] = s
			sensors = append(sensors, s)
		}
		s.add(what, dir+"/"+name)
	}
	return sensors, firstErr
}

// cutHwmon takes the name of a file apart: temp1, temp and crit_alarm of "temp1_crit_alarm". kind
// is empty for a file that is not read.
func cutHwmon(file string) (name, kind, what string) {
	name, what, _ = strings.Cut(file, "_")
	kind = strings.TrimRight(name, "0123456789")
	if len(kind) == len(name) || hwmonKinds[kind] == 0 {
		return "", "", ""
	}
	isLimit := kind == "temp" && (what == "max" || what == "crit")
	if what != "input" && !isLimit && what != "alarm" && !strings.HasSuffix(what, "_alarm") {
		return "", "", ""
	}
	return name, kind, what
}

// hwmonLabel reads the label of a sensor. An ina3221 measures volts and amperes of the same three
// rails and labels the volts alone.
func hwmonLabel(dir, chip, name string) (string, error) {
	label, err := readOptional(dir + "/" + name + "_label")
	if number, ok := strings.CutPrefix(name, "curr"); ok && label == "" && chip == "ina3221" {
		return readOptional(dir + "/in" + number + "_label")
	}
	return label, err
}

// add adds a file of the sensor, of which all begin with prefix.
func (s *HwmonSensor) add(what, prefix string) {
	switch limit, isAlarm := strings.CutSuffix("_"+what, "_alarm"); {
	case what == "input":
		s.Input = newHwmonInput(prefix, s.Kind)
	case isAlarm:
		if a := newAttribute(prefix+"_"+what, parseAlarm); a != nil {
			s.Alarms = append(s.Alarms, HwmonLimit{strings.TrimPrefix(limit, "_"), a})
		}
	default:
		if a := rarely(newAttribute(prefix+"_"+what, parseLimit)); a != nil {
			s.Limits = append(s.Limits, HwmonLimit{what, a})
		}
	}
}

func newHwmonInput(prefix, kind string) *HwmonInput {
	s := &HwmonInput{path: prefix + "_input"}
	if kind == "temp" {
		s.read = (&thermometer{file: NewSingle(s.path)}).read
	} else {
		a := &Attribute{file: NewSingle(s.path), parse: scaled(hwmonKinds[kind]), lacks: noValue}
		s.read = a.Read
	}
	if _, err := os.Stat(prefix + "_fault"); err == nil {
		s.fault = NewSingle(prefix + "_fault")
	}
	if _, err := os.Stat(prefix + "_enable"); err == nil {
		s.enable = prefix + "_enable"
	}
	return s
}

// parseLimit reads a temperature. Chips have numbers far beyond any temperature for "no limit".
func parseLimit(text []byte) (float64, error) {
	celsius, err := scaled(1000)(text)
	if err == nil && (celsius < minCelsius || celsius > maxCelsius) {
		err = ErrNotSupported
	}
	return celsius, err
}

var errAlarm = errors.New("want 0 or 1")

func parseAlarm(text []byte) (float64, error) {
	v, err := whole(text)
	if err == nil && v != 0 && v != 1 {
		err = parseError(0, text, errAlarm)
	}
	return v, err
}

// Path returns the file of what is measured.
func (s *HwmonInput) Path() string { return s.path }

// Read reads the sensor. A chip that reports a fault, such as an open
// diode, gives an error, because its number then means nothing. A sensor that
// was switched off is ErrNotSupported. It may hang as long as the driver does.
func (s *HwmonInput) Read() (float64, error) {
	if s.fault != nil {
		if err := s.checkFault(); err != nil {
			return 0, err
		}
	}
	v, err := s.read()
	if err != nil && s.isOff() {
		return 0, fmt.Errorf("%w: %s is switched off: %w", ErrNotSupported, s.path, err)
	}
	return v, err
}

func (s *HwmonInput) checkFault() error {
	text, err := s.fault.Read()
	if err != nil {
		return err
	}
	var fault uint64
	if err := parseUintFile(text, &fault); err != nil {
		return inFile(s.fault.Path(), err)
	}
	if fault != 0 {
		return fmt.Errorf("read %s: the chip reports a fault of this sensor", s.path)
	}
	return nil
}

func (s *HwmonInput) isOff() bool {
	if s.enable == "" {
		return false
	}
	enabled, err := readUint(s.enable)
	return err == nil && enabled == 0
}
