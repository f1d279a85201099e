package proc

import "bytes"

// MPPLoad is one video engine of a Rockchip SoC: an encoder, a decoder, a scaler.
type MPPLoad struct {
	Device      []byte  // "fdbd0000.rkvenc-core"; valid until the next Read
	Load        float64 // percent of the time that it had work; an engine of several cores reaches more than 100
	Utilization float64 // percent of the time that the hardware was busy
}

// MPP reads /proc/mpp_service/load, which the kernels of Rockchip have. They only measure once
// somebody has written a time in ms to load_interval beside it, and say so until then.
type MPP struct {
	file *File
	list []MPPLoad
}

// NewMPP names the file; nothing is opened yet.
func NewMPP(fs FS) *MPP { return &MPP{file: NewFile(fs.ProcPath("mpp_service/load"))} }

// Read returns one entry for each engine. It is ErrNotSupported if there is no such file, or if the
// kernel does not measure. A bad line costs only itself.
func (m *MPP) Read() ([]MPPLoad, error) {
	text, err := m.file.Read()
	if err != nil {
		return nil, notSupported(err)
	}
	if bytes.HasPrefix(text, []byte("please set load_interval")) {
		return nil, ErrNotSupported
	}
	m.list, err = parseMPP(text, m.list[:0])
	return m.list, inFile(m.file.path, err)
}

// Close closes the file; a later Read opens it again.
func (m *MPP) Close() { _ = m.file.Close() } // read-only: nothing to lose

// parseMPP appends the engines in text to list.
func parseMPP(text []byte, list []MPPLoad) ([]MPPLoad, error) {
	return parseLines(text, 1, list, parseMPPLoad)
}

// parseMPPLoad reads "fdbd0000.rkvenc-core  load:  24.80% utilization:  24.39%".
func parseMPPLoad(line []byte) (l MPPLoad, bad, err error) {
	var rest []byte
	l.Device, rest = NextField(line)
	for _, v := range [...]struct {
		key   string
		value *float64
	}{{"load:", &l.Load}, {"utilization:", &l.Utilization}} {
		var key, field []byte
		key, rest = NextField(rest)
		field, rest = NextField(rest)
		number, isPercent := bytes.CutSuffix(field, []byte{'%'})
		if string(key) != v.key || !isPercent {
			return MPPLoad{}, nil, errColumns
		}
		if *v.value, err = ParseFloat(number); err != nil {
			return MPPLoad{}, nil, err
		}
	}
	return l, nil, nil
}
