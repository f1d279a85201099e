package proc

import (
	"path/filepath"
	"strconv"
)

// Bits of what Throttled reads. Those of "now" are shifted by ThrottledEarlier for "since somebody
// last cleared the flags", which the kernel's driver of rpi_volt does every two seconds.
const (
	ThrottledUndervoltage = 1 << iota // below 4.63 V
	ThrottledCapped                   // the clock of the cores
	ThrottledThrottled
	ThrottledSoftLimit // of the temperature

	ThrottledEarlier = 16
)

// Throttled returns what the firmware of a Raspberry Pi reports about supply and heat, nil on every
// other board, and where the kernel does not pass it on: newer ones have only the undervoltage, as
// the alarm of the hwmon chip rpi_volt.
// Source: get_throttled in the documentation of vcgencmd.
func Throttled(fs FS) *Attribute {
	// soc/soc:firmware, on a Raspberry Pi 5 soc@107c000000/soc@107c000000:firmware.
	paths, _ := filepath.Glob(fs.SysPath("devices/platform/soc*/soc*:firmware/get_throttled")) // a fixed pattern is never bad
	if len(paths) == 0 {
		return nil
	}
	return newAttribute(paths[0], parseHex)
}

// parseHex reads a number that is written in hexadecimal digits, with or without 0x.
func parseHex(text []byte) (float64, error) {
	field, err := oneField(text)
	if err != nil {
		return 0, err
	}
	n, err := hexNumber(field)
	if err != nil {
		return 0, parseError(0, text, err)
	}
	return float64(n), nil
}

func hexNumber(field []byte) (uint64, error) {
	if len(field) > 2 && field[0] == '0' && (field[1] == 'x' || field[1] == 'X') {
		field = field[2:]
	}
	n, err := strconv.ParseUint(string(field), 16, 32)
	if err != nil {
		return 0, numberError(err)
	}
	return n, nil
}
