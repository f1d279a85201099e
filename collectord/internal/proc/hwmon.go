package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// HwmonSensor is one temperature of one chip below /sys/class/hwmon.
// Source: Documentation/hwmon/sysfs-interface.rst.
type HwmonSensor struct {
	Dir    string // "hwmon0"; the number is another one after each boot
	Chip   string // what the driver calls the chip: "nvme", "rp1_adc"
	Device string // the last part of the chip's device: "nvme0"; "" if it has none
	Name   string // "temp1"
	Label  string // what the driver calls the sensor: "Composite"; often ""

	input  *File
	fault  *File  // nil where the chip does not detect faults
	enable string // path of the switch, where there is one
}

// HwmonSensors lists the temperature sensors of all chips there are now and
// reads no temperature. A kernel without chips is ErrNotSupported. A name that
// cannot be read is left empty, and its error is returned beside the list.
func HwmonSensors(fs FS) ([]*HwmonSensor, error) {
	chips, err := os.ReadDir(fs.SysPath("class/hwmon"))
	if err != nil {
		return nil, notSupported(err)
	}
	var sensors []*HwmonSensor
	var firstErr error
	for _, chip := range chips {
		found, err := chipSensors(fs.SysPath("class/hwmon", chip.Name()))
		sensors = append(sensors, found...)
		if firstErr == nil {
			firstErr = err
		}
	}
	return sensors, firstErr
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
	var sensors []*HwmonSensor
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), "_input")
		if !ok || !strings.HasPrefix(name, "temp") {
			continue
		}
		label, err := readOptional(dir + "/" + name + "_label")
		if firstErr == nil {
			firstErr = err
		}
		s := &HwmonSensor{Dir: filepath.Base(dir), Chip: chip, Device: device, Name: name, Label: label}
		s.setPaths(dir + "/" + name)
		sensors = append(sensors, s)
	}
	return sensors, firstErr
}

// setPaths names the sensor's files, which all begin with prefix.
func (s *HwmonSensor) setPaths(prefix string) {
	s.input = NewSingle(prefix + "_input")
	if _, err := os.Stat(prefix + "_fault"); err == nil {
		s.fault = NewSingle(prefix + "_fault")
	}
	if _, err := os.Stat(prefix + "_enable"); err == nil {
		s.enable = prefix + "_enable"
	}
}

// Path returns the file of the temperature.
func (s *HwmonSensor) Path() string { return s.input.Path() }

// Read reads the temperature. A chip that reports a fault, such as an open
// diode, gives an error, because its number then means nothing. A sensor that
// was switched off is ErrNotSupported. It may hang as long as the driver does.
func (s *HwmonSensor) Read() (float64, error) {
	if s.fault != nil {
		if err := s.checkFault(); err != nil {
			return 0, err
		}
	}
	celsius, err := readMilliCelsius(s.input)
	if err != nil && s.isOff() {
		return 0, fmt.Errorf("%w: %s is switched off: %w", ErrNotSupported, s.Path(), err)
	}
	return celsius, err
}

func (s *HwmonSensor) checkFault() error {
	text, err := s.fault.Read()
	if err != nil {
		return err
	}
	var fault uint64
	if err := parseUintFile(text, &fault); err != nil {
		return inFile(s.fault.Path(), err)
	}
	if fault != 0 {
		return fmt.Errorf("read %s: the chip reports a fault of this sensor", s.Path())
	}
	return nil
}

func (s *HwmonSensor) isOff() bool {
	if s.enable == "" {
		return false
	}
	enabled, err := readUint(s.enable)
	return err == nil && enabled == 0
}
