package proc

// Watchdog is a hardware watchdog below /sys/class/watchdog.
type Watchdog struct {
	Name       string     // "watchdog0"
	BootStatus *Attribute // why the machine last started, WDIOF_ bits: 32 is a reset by the watchdog
}

// Watchdogs lists those that there are now; none is no error.
// Source: Documentation/ABI/testing/sysfs-class-watchdog, include/uapi/linux/watchdog.h.
func Watchdogs(fs FS) ([]Watchdog, error) {
	names, err := fs.entries("class/watchdog", "watchdog")
	var list []Watchdog
	for _, name := range names {
		if a := rarely(newAttribute(fs.SysPath("class/watchdog", name, "bootstatus"), whole)); a != nil {
			list = append(list, Watchdog{name, a})
		}
	}
	return list, err
}
