package sample

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// board reads what small boards have beside hwmon and thermal zones: clocks and loads of GPU, NPU
// and memory, video engines, throttling, power supplies, the wear of an eMMC, the watchdog.
type board struct {
	sensors *sensorSet
	mpp     *proc.MPP
	mppGone time.Time // when there was no such file
	engines *devices[engine]
}

// engine has the series of one video engine.
type engine struct{ load, utilization *Series }

// NewBoard returns the collector "board".
func NewBoard(fs proc.FS, reg *Registry) Collector {
	return &board{
		sensors: newSensorSet(fs, reg, func() ([]foundSensor, error) { return listBoard(fs) },
			fs.SysPath("class/devfreq"), fs.SysPath("class/power_supply"), fs.SysPath("class/watchdog"), fs.SysPath("block")),
		mpp: proc.NewMPP(fs),
		engines: newDevices(func(name string) *engine {
			return &engine{reg.Series("mpp.load_percent", labelText(name)), reg.Series("mpp.utilization_percent", labelText(name))}
		}),
	}
}

// listBoard returns what there is now. It is proc.ErrNotSupported with nothing.
func listBoard(fs proc.FS) (found []foundSensor, err error) {
	devices, devicesErr := proc.DevfreqDevices(fs)
	for _, d := range devices {
		found = appendAttribute(found, d.Frequency, "devfreq.frequency_hertz", d.Name, d.Type)
		found = appendAttribute(found, d.Load, "devfreq.load_percent", d.Name, d.Type)
	}
	if a := proc.Throttled(fs); a != nil {
		found = append(found, foundSensor{reader: a, labels: []string{"get_throttled"}, several: addThrottled})
	}
	supplies, suppliesErr := proc.PowerSupplies(fs)
	for _, p := range supplies {
		found = appendAttribute(found, p.Online, "power.online", p.Name)
		found = appendAttribute(found, p.Capacity, "power.capacity_percent", p.Name)
		found = appendAttribute(found, p.Voltage, "power.voltage_volts", p.Name)
		found = appendAttribute(found, p.Current, "power.current_amperes", p.Name)
		found = appendAttribute(found, p.Status, "power.status", p.Name)
	}
	emmcs, emmcsErr := proc.EMMCs(fs)
	for _, e := range emmcs {
		if e.LifeTime != nil {
			found = append(found, foundSensor{reader: e.LifeTime, labels: []string{e.Device, "life_time"}, rare: true, several: addLifeTime(e.Device)})
		}
		found = appendAttribute(found, e.PreEOL, "emmc.pre_eol", e.Device)
	}
	watchdogs, watchdogsErr := proc.Watchdogs(fs)
	for _, w := range watchdogs {
		found = appendAttribute(found, w.BootStatus, "watchdog.boot_status", w.Name)
	}
	err = cmp.Or(devicesErr, suppliesErr, emmcsErr, watchdogsErr)
	if len(found) == 0 && err == nil {
		err = fmt.Errorf("%w: no board sensor found", proc.ErrNotSupported)
	}
	return found, err
}

// Name implements Collector.
func (c *board) Name() string { return "board" }

// Collect implements Collector. It is proc.ErrNotSupported if the machine has nothing of it.
func (c *board) Collect(at time.Time, out *Batch) error {
	err := c.sensors.collect(at, out)
	if mppErr := c.collectMPP(at, out); !errors.Is(mppErr, proc.ErrNotSupported) {
		if errors.Is(err, proc.ErrNotSupported) {
			return mppErr
		}
		if mppErr != nil {
			out.Fail(mppErr)
		}
	}
	return err
}

// collectMPP looks for a file that is not there once a minute.
func (c *board) collectMPP(at time.Time, out *Batch) error {
	if !c.mppGone.IsZero() && at.Sub(c.mppGone) < relistInterval {
		return proc.ErrNotSupported
	}
	c.mppGone = time.Time{}
	loads, err := c.mpp.Read()
	if errors.Is(err, proc.ErrNotSupported) {
		c.mppGone = at
	}
	if err := out.failPart(len(loads), err); err != nil {
		return err
	}
	c.engines.begin()
	for i := range loads {
		if e, _ := c.engines.see(loads[i].Device); e != nil {
			out.Add(e.load, loads[i].Load)
			out.Add(e.utilization, loads[i].Utilization)
		}
	}
	c.engines.end()
	return nil
}

// throttleReasons are in the order of the bits.
var throttleReasons = []string{"undervoltage", "frequency_capped", "throttled", "soft_temperature_limit"}

func addThrottled(reg *Registry) func(out *Batch, v float64) {
	var now, earlier []*Series
	for _, reason := range throttleReasons {
		now = append(now, reg.Series("throttling.active", reason))
		earlier = append(earlier, reg.Series("throttling.occurred", reason))
	}
	return func(out *Batch, v float64) {
		for i := range throttleReasons {
			out.Add(now[i], float64(uint32(v)>>i&1))
			out.Add(earlier[i], float64(uint32(v)>>(i+proc.ThrottledEarlier)&1))
		}
	}
}

func addLifeTime(device string) func(reg *Registry) func(out *Batch, v float64) {
	return func(reg *Registry) func(out *Batch, v float64) {
		series := [2]*Series{reg.Series("emmc.life_used_percent", device, "a"), reg.Series("emmc.life_used_percent", device, "b")}
		return func(out *Batch, v float64) {
			used, ok := proc.EMMCLifeTime(v)
			for i, s := range series {
				if ok[i] {
					out.Add(s, used[i])
				}
			}
		}
	}
}
