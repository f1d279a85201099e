package proc

import (
	"bytes"
	"path/filepath"
	"strings"
)

// DevfreqDevice is a device other than a CPU whose clock follows its load, below
// /sys/class/devfreq: GPU, NPU, memory controller, video encoder. On a Jetson without it the GPU
// has a load alone.
type DevfreqDevice struct {
	Name string // "fb000000.gpu"
	Type string // "gpu", "npu", "dmc": the name without the address

	// Nil where the kernel has none.
	Frequency *Attribute // hertz
	Load      *Attribute // percent
}

// gpuTypes are what NVIDIA calls the GPUs of its boards.
var gpuTypes = map[string]bool{"gm20b": true, "gp10b": true, "gv11b": true, "ga10b": true}

// DevfreqDevices lists the devices there are now; none is no error.
// Source: Documentation/ABI/testing/sysfs-class-devfreq; load is of Rockchip's kernels, device/load
// and gpu.N of NVIDIA's.
func DevfreqDevices(fs FS) ([]DevfreqDevice, error) {
	names, err := fs.entries("class/devfreq", "")
	var devices []DevfreqDevice
	seen := map[string]bool{}
	for _, name := range names {
		dir := fs.SysPath("class/devfreq", name)
		d := DevfreqDevice{
			Name: name, Type: devfreqType(name),
			Frequency: newAttribute(dir+"/cur_freq", whole),
			Load:      newAttribute(dir+"/load", parseDevfreqLoad),
		}
		if d.Load == nil {
			d.Load = newAttribute(dir+"/device/load", scaled(10)) // 0 to 1000
			seen[realPath(dir+"/device")] = true
		}
		if d.Load == nil && d.Type != "gpu" && d.Type != "npu" { // a display, a video engine
			rarely(d.Frequency)
		}
		devices = append(devices, d)
	}
	for _, pattern := range []string{"devices/gpu.*/load", "devices/platform/gpu.*/load"} {
		loads, _ := filepath.Glob(fs.SysPath(pattern)) // a fixed pattern is never bad
		for _, load := range loads {
			dir := filepath.Dir(load)
			if real := realPath(dir); !seen[real] {
				seen[real] = true
				devices = append(devices, DevfreqDevice{Name: filepath.Base(dir), Type: "gpu", Load: newAttribute(load, scaled(10))})
			}
		}
	}
	return devices, err
}

// realPath is path without links, or as it is.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// devfreqType cuts the address off a name: it stands before the name on most boards.
func devfreqType(name string) string {
	typ := name[strings.LastIndexByte(name, '.')+1:]
	if gpuTypes[typ] {
		return "gpu"
	}
	return typ
}

// parseDevfreqLoad reads "37@300000000Hz": percent and the frequency at which it is that.
func parseDevfreqLoad(text []byte) (float64, error) {
	field, err := oneField(text)
	if err != nil {
		return 0, err
	}
	percent, _, _ := bytes.Cut(field, []byte{'@'})
	n, err := ParseUint(percent)
	if err != nil {
		return 0, parseError(0, text, err)
	}
	return float64(n), nil
}
