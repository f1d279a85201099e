package metrics

import (
	"bytes"
	"os"
	"strconv"
)

// AddBytesWritten adds storage.bytes_written_total of this process.
func (s *Set) AddBytesWritten(daemon string) {
	s.Func(&BytesWritten, func(emit func(float64, ...string)) {
		if n, ok := bytesWritten(); ok {
			emit(float64(n), daemon)
		}
	})
}

// AddHTTPRefused adds agent.http_refused_total with the given reasons, and returns the function
// that counts one.
func (s *Set) AddHTTPRefused(daemon string, reasons []string) func(reason string) {
	totals := map[string]*Total{}
	for _, reason := range reasons {
		totals[reason] = s.Counter(&HTTPRefused, daemon, reason)
	}
	return func(reason string) { totals[reason].Inc() }
}

// bytesWritten is what this process caused to be written to the disk.
// https://docs.kernel.org/filesystems/proc.html#proc-pid-io
func bytesWritten() (n int64, ok bool) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, false // another system, or a kernel without task accounting
	}
	_, rest, found := bytes.Cut(text, []byte("\nwrite_bytes: "))
	if !found {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err = strconv.ParseInt(string(line), 10, 64)
	return n, err == nil
}
