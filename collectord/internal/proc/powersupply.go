package proc

import (
	"slices"
	"syscall"
)

// PowerSupply is a battery or a source of power below /sys/class/power_supply. Nil is what it does
// not have.
// Source: Documentation/ABI/testing/sysfs-class-power.
type PowerSupply struct {
	Name     string     // "BAT0", "tcpm-source-psy-4-0022"
	Online   *Attribute // 0 no, 1 yes, 2 with a fixed voltage
	Capacity *Attribute // percent
	Voltage  *Attribute // volts
	Current  *Attribute // amperes; which sign means charging is up to the driver
	Status   *Attribute // index in PowerStatuses
}

// PowerStatuses are what Status can be, in the order of the kernel's enum.
var PowerStatuses = []string{"Unknown", "Charging", "Discharging", "Not charging", "Full"}

// PowerSupplies lists what there is now; none is no error.
func PowerSupplies(fs FS) ([]PowerSupply, error) {
	names, err := fs.entries("class/power_supply", "")
	var supplies []PowerSupply
	for _, name := range names {
		attribute := func(file string, parse func([]byte) (float64, error)) *Attribute {
			a := rarely(newAttribute(fs.SysPath("class/power_supply", name, file), parse)) // of a gauge on a slow bus
			if a != nil {
				a.lacks = noSupply
			}
			return a
		}
		supplies = append(supplies, PowerSupply{
			Name:     name,
			Online:   attribute("online", whole),
			Capacity: attribute("capacity", whole),
			Voltage:  attribute("voltage_now", scaled(1e6)),
			Current:  attribute("current_now", scaled(1e6)),
			Status:   attribute("status", parsePowerStatus),
		})
	}
	return supplies, err
}

// noSupply: a slot without its battery answers ENODEV, and EAGAIN while it is looked at.
var noSupply = append(slices.Clone(noValue), syscall.ENODEV, syscall.EAGAIN)

func parsePowerStatus(text []byte) (float64, error) {
	line, _ := NextLine(text)
	for i, status := range PowerStatuses {
		if string(line) == status {
			return float64(i), nil
		}
	}
	return 0, parseError(0, line, errStatus)
}
