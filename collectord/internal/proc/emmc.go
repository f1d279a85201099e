package proc

import "fmt"

// EMMC is the health that an eMMC device reports about itself.
type EMMC struct {
	Device   string     // "mmcblk0"
	LifeTime *Attribute // see EMMCLifeTime
	PreEOL   *Attribute // 1 normal, 2 more than 80 % of the spare blocks used, 3 more than 90 %
}

// EMMCs lists the devices that report it; SD cards do not. None is no error.
// Source: Documentation/driver-api/mmc/mmc-dev-attrs.rst.
func EMMCs(fs FS) ([]EMMC, error) {
	names, err := fs.entries("block", "mmcblk")
	var list []EMMC
	for _, name := range names {
		dir := fs.SysPath("block", name, "device")
		e := EMMC{
			Device:   name,
			LifeTime: rarely(newAttribute(dir+"/life_time", parseLifeTime)),
			PreEOL:   rarely(newAttribute(dir+"/pre_eol_info", parsePreEOL)),
		}
		if e.LifeTime != nil || e.PreEOL != nil { // not a boot partition of another one, which has no device of its own
			list = append(list, e)
		}
	}
	return list, err
}

// EMMCLifeTime takes the value of LifeTime apart: how many percent of its life the memory of type A
// (fast, for the system) and of type B (the bulk) have used up at least, in steps of ten; 100 is
// the whole. ok is false for a type that the device does not have.
func EMMCLifeTime(v float64) (used [2]float64, ok [2]bool) {
	for i, estimate := range [2]int{int(v) >> 8, int(v) & 0xff} {
		if estimate >= 1 && estimate <= 11 {
			used[i], ok[i] = float64(10*(estimate-1)), true
		}
	}
	return used, ok
}

// parseLifeTime reads "0x01 0x02": 1 is 0 to 10 percent used, 10 is 90 to 100, 11 more. 0 is not
// defined, and prints where a device is older than the register.
func parseLifeTime(text []byte) (float64, error) {
	line, _ := NextLine(text)
	var estimates [2]uint64
	rest := line
	for i := range estimates {
		var field []byte
		var err error
		field, rest = NextField(rest)
		if estimates[i], err = hexNumber(field); err == nil && estimates[i] > 11 {
			err = ErrRange
		}
		if err != nil {
			return 0, parseError(0, line, err)
		}
	}
	if extra, _ := NextField(rest); len(extra) > 0 {
		return 0, parseError(0, line, ErrSyntax)
	}
	return float64(estimates[0]<<8 | estimates[1]), nil
}

func parsePreEOL(text []byte) (float64, error) {
	v, err := parseHex(text)
	if err == nil && v == 0 {
		err = fmt.Errorf("%w: the device does not define it", ErrNotSupported)
	}
	return v, err
}
