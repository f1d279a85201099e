package proc

// NewUptime returns the reader of /proc/uptime: seconds since boot, time asleep
// included, to a hundredth.
// Source: proc_uptime(5).
func NewUptime(fs FS) *Reader[float64] {
	return &Reader[float64]{file: NewSingle(fs.ProcPath("uptime")), parse: parseUptime}
}

func parseUptime(b []byte, seconds *float64) error {
	line, _ := NextLine(b)
	v, _, err := nextTime(line)
	if err != nil {
		return parseError(1, line, err)
	}
	*seconds = v
	return nil
}
