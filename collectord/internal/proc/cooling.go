package proc

// CoolingDevice is a fan, a clock or another thing that the kernel uses against heat, below
// /sys/class/thermal.
// Source: Documentation/driver-api/thermal/sysfs-api.rst.
type CoolingDevice struct {
	Name string // "cooling_device0"; numbers follow the order in which drivers load
	Type string // "pwm-fan", "thermal-cpufreq-0"

	State    *Attribute // 0: does nothing
	MaxState *Attribute
}

// CoolingDevices lists the cooling devices there are now; none is no error.
func CoolingDevices(fs FS) ([]CoolingDevice, error) {
	names, err := fs.entries("class/thermal", "cooling_device")
	var devices []CoolingDevice
	for _, name := range names {
		dir := fs.SysPath("class/thermal", name)
		typ, typeErr := readOptional(dir + "/type")
		if err == nil {
			err = typeErr
		}
		devices = append(devices, CoolingDevice{
			Name: name, Type: typ,
			State:    rarely(newAttribute(dir+"/cur_state", whole)),
			MaxState: rarely(newAttribute(dir+"/max_state", whole)),
		})
	}
	return devices, err
}
