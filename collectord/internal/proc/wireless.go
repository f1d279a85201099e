package proc

import (
	"cmp"
	"math"
)

// WirelessStat is one interface in /proc/net/wireless, as printed.
type WirelessStat struct {
	Name    []byte // valid until the next Read
	Quality float64
	Level   float64 // see SignalDBm
	Noise   float64 // see SignalDBm
}

// Wireless reads /proc/net/wireless, of the same network namespace as NetDev.
// Source: net/wireless/wext-proc.c.
type Wireless struct {
	file *File
	list []WirelessStat
}

// NewWireless names the file; nothing is opened yet.
func NewWireless(fs FS) *Wireless { return &Wireless{file: NewFile(fs.netPath("wireless"))} }

// Read returns one entry for each wireless interface. A kernel without the
// wireless extensions has no such file: ErrNotSupported. A bad
// number is NaN, a line without its columns is left out, and the error of the first
// comes beside the list.
func (w *Wireless) Read() ([]WirelessStat, error) {
	text, err := w.file.Read()
	if err != nil {
		return nil, notSupported(err)
	}
	w.list, err = parseWireless(text, w.list[:0])
	return w.list, inFile(w.file.Path(), err)
}

// parseWireless appends the interfaces in text to list.
func parseWireless(text []byte, list []WirelessStat) ([]WirelessStat, error) {
	text, err := skipNetHeader(text)
	if err != nil {
		return list, err
	}
	return parseLines(text, netHeaderLines+1, list, parseWirelessStat)
}

// parseWirelessStat requires one column after the noise: in a truncated line it shows that no digit
// is missing. A bad number is NaN.
func parseWirelessStat(line []byte) (stat WirelessStat, bad, err error) {
	var rest []byte
	if stat.Name, rest, err = cutInterface(line); err != nil {
		return stat, nil, err
	}
	_, rest = NextField(rest) // status: of the driver's own making
	for _, v := range [...]*float64{&stat.Quality, &stat.Level, &stat.Noise} {
		var field []byte
		field, rest = NextField(rest)
		if len(field) == 0 {
			return stat, nil, errColumns
		}
		// A dot behind a value means that it is new since the last look.
		if *v, err = ParseFloat(field); err != nil {
			*v, bad = math.NaN(), cmp.Or(bad, err)
		}
	}
	if next, _ := NextField(rest); len(next) == 0 {
		return stat, nil, errColumns
	}
	return stat, bad, nil
}

// SignalDBm turns a printed level or noise into dBm, which is negative for every
// real radio. ok is false where the number is no power.
//
// A driver that declares its numbers as dBm keeps them in one byte as dBm + 256,
// and the kernel prints byte − 256; an empty byte then comes out as −256, which
// is "unknown". Drivers of old do not say so, and the kernel prints the byte:
// the upper half are negative dBm in two's complement, the lower half a bare
// scale of the driver's own, 0 nothing at all.
// Source: include/uapi/linux/wireless.h and the reading of it in wireless-tools.
func SignalDBm(printed float64) (dBm float64, ok bool) {
	switch {
	case printed > -256 && printed < 0:
		return printed, true
	case printed > 127 && printed < 256:
		return printed - 256, true
	}
	return 0, false
}
