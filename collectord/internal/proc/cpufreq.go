package proc

import (
	"path/filepath"
	"strconv"
)

// CPUFreqPath returns the file that holds the present frequency of a core in
// kHz. Cores of one cluster share a frequency policy and get the same path, so
// that it need be read only once. A core without frequency scaling (most
// virtual machines) is ErrNotSupported.
// Source: Documentation/admin-guide/pm/cpufreq.rst.
func CPUFreqPath(fs FS, core int) (string, error) {
	policy, err := filepath.EvalSymlinks(fs.SysPath("devices/system/cpu", "cpu"+strconv.Itoa(core), "cpufreq"))
	if err != nil {
		return "", notSupported(err)
	}
	return filepath.Join(policy, "scaling_cur_freq"), nil
}

// NewCPUFreq returns the reader of one path of CPUFreqPath. The number is in
// kHz: what the hardware measures where it can, else what the kernel last
// requested.
func NewCPUFreq(path string) *Reader[uint64] {
	return &Reader[uint64]{file: NewSingle(path), parse: parseUintFile}
}
