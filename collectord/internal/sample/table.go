package sample

import (
	"cmp"
	"slices"

	"belabox-metrics/shared/metrics"
)

//go:generate go test . -run ^TestMetricsDoc$ -update

// Table describes every metric of this machine, collector by collector in the
// order in which a tick reads them; at the end those of package textfile. Series are made from it
// by name; with the tables of the self-metrics it makes docs/metrics.md.
var Table = slices.Concat(
	rows("cpu", "/proc/stat", []metrics.Metric{
		{Name: "cpu.usage_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"core"}, Help: "Share of the time since the last reading in which the core was neither idle nor waiting for I/O, 0 to 100; core `all` is all cores together. Time of guests counts once. An offline core has no sample."},
		{Name: "cpu.iowait_percent", Kind: metrics.Gauge, Unit: "percent", Help: "Share of the time of all cores that was idle while a task waited for I/O, 0 to 100. Not available per core, because the kernel documents that value as unreliable."},
		{Name: "cpu.steal_percent", Kind: metrics.Gauge, Unit: "percent", Help: "Share of the time of all cores that the hypervisor gave to others, 0 to 100."},
		{Name: "cpu.frequency_hertz", Kind: metrics.Gauge, Unit: "hertz", Labels: []string{"core"}, Source: "/sys/devices/system/cpu/cpuN/cpufreq/scaling_cur_freq", Range: metrics.Range{Min: 1e6, Max: 2e10}, Help: "Current frequency of the core. Cores of one cluster share it. Machines without frequency scaling, such as most virtual machines, have no sample."},
		{Name: "system.context_switches_total", Kind: metrics.Counter, Help: "Context switches on all cores since boot."},
		{Name: "system.processes_running", Kind: metrics.Gauge, Help: "Tasks that run or wait for a core; at least 1, the reader itself."},
		{Name: "system.processes_blocked", Kind: metrics.Gauge, Help: "Tasks waiting for I/O."},
	}),
	rows("memory", "/proc/meminfo", []metrics.Metric{
		{Name: "memory.total_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "Memory that the kernel can use (MemTotal), less than the installed memory."},
		{Name: "memory.used_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "MemTotal − MemAvailable: memory that cannot be freed without swapping."},
		{Name: "memory.available_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "Memory that is available to new programs without swapping (MemAvailable). For kernels before 3.14, which lack it: MemFree + Active(file) + Inactive(file) + SReclaimable, a slightly higher value."},
		{Name: "memory.swap_total_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "Size of all swap areas; 0 without swap."},
		{Name: "memory.swap_used_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "SwapTotal − SwapFree."},
	}),
	rows("load", "/proc/loadavg", []metrics.Metric{
		{Name: "load.average_1m", Kind: metrics.Gauge, Help: "Average number of tasks that were running, waiting for a core or waiting for a disk, over about 1 minute."},
		{Name: "load.average_5m", Kind: metrics.Gauge, Help: "The same over about 5 minutes."},
		{Name: "load.average_15m", Kind: metrics.Gauge, Help: "The same over about 15 minutes."},
	}),
	rows("system", "/proc/uptime", []metrics.Metric{
		{Name: "system.uptime_seconds", Kind: metrics.Gauge, Unit: "seconds", Help: "Time since boot, including suspend."},
		{Name: "system.boot_time_seconds", Kind: metrics.Gauge, Unit: "seconds", Source: "/proc/stat", Help: "Unix time of the boot. It changes when the wall clock is set, for example by NTP on a board without a clock battery."},
		{Name: "system.kernel_release", Kind: metrics.Text, Source: "/proc/sys/kernel/osrelease", Help: "Release of the running kernel, as `uname -r` prints it."},
		{Name: "system.os_name", Kind: metrics.Text, Source: "/etc/os-release", Help: "Name and version of the distribution (PRETTY_NAME)."},
		{Name: "system.board_model", Kind: metrics.Text, Source: "/proc/device-tree/model or /sys/class/dmi/id/product_name", Help: "Name of the board from the device tree, otherwise the product name from the firmware. Absent without both."},
	}),
	rows("pressure", "/proc/pressure/memory", []metrics.Metric{
		{Name: "pressure.cpu_some_percent", Kind: metrics.Gauge, Unit: "percent", Source: "/proc/pressure/cpu", Help: "Share of the time since the last reading in which at least one task waited for a core, 0 to 100. Absent on kernels without pressure accounting."},
		{Name: "pressure.memory_some_percent", Kind: metrics.Gauge, Unit: "percent", Help: "The same for at least one task that waited for memory."},
		{Name: "pressure.memory_full_percent", Kind: metrics.Gauge, Unit: "percent", Help: "The same for all tasks waiting for memory at once."},
		{Name: "pressure.io_some_percent", Kind: metrics.Gauge, Unit: "percent", Source: "/proc/pressure/io", Help: "The same for at least one task that waited for I/O."},
		{Name: "pressure.io_full_percent", Kind: metrics.Gauge, Unit: "percent", Source: "/proc/pressure/io", Help: "The same for all tasks waiting for I/O at once."},
	}),
	rows("network", "/proc/net/dev", []metrics.Metric{
		{Name: "network.receive_bytes_total", Kind: metrics.Counter, Unit: "bytes", Labels: []string{"interface"}, Help: "Bytes received since the interface appeared."},
		{Name: "network.transmit_bytes_total", Kind: metrics.Counter, Unit: "bytes", Labels: []string{"interface"}, Help: "Bytes sent since the interface appeared."},
		{Name: "network.receive_packets_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Packets received since the interface appeared."},
		{Name: "network.transmit_packets_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Packets sent since the interface appeared."},
		{Name: "network.receive_errors_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Receive errors since the interface appeared."},
		{Name: "network.transmit_errors_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Transmit errors since the interface appeared."},
		{Name: "network.receive_drops_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Valid packets dropped on reception since the interface appeared, including those for which the hardware had no buffer."},
		{Name: "network.transmit_drops_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Packets dropped instead of being sent since the interface appeared."},
		{Name: "network.receive_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"interface"}, Range: interfaceSpeed, Help: "Bytes received per second since the last reading. No sample at the first reading and after a reset or wrap of a counter; drivers that count in 32 bits wrap every 4 GiB."},
		{Name: "network.transmit_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"interface"}, Range: interfaceSpeed, Help: "Bytes sent per second since the last reading."},
		{Name: "network.receive_packets_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"interface"}, Help: "Packets received per second since the last reading."},
		{Name: "network.transmit_packets_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"interface"}, Help: "Packets sent per second since the last reading."},
		{Name: "network.interfaces_dropped_total", Kind: metrics.Counter, Help: "Interfaces that are not sampled because there are more than network.max_interfaces, since collectord started. An interface counts once when it appears or loses its place, not once per tick: 40 interfaces with a limit of 32 count 8."},
	}),
	rows("disk", "/proc/diskstats", []metrics.Metric{
		{Name: "disk.read_bytes_total", Kind: metrics.Counter, Unit: "bytes", Labels: []string{"device"}, Help: "Bytes read since the device appeared. The kernel counts units of 512 bytes for every sector size."},
		{Name: "disk.written_bytes_total", Kind: metrics.Counter, Unit: "bytes", Labels: []string{"device"}, Help: "Bytes written since the device appeared."},
		{Name: "disk.reads_total", Kind: metrics.Counter, Labels: []string{"device"}, Help: "Reads completed since the device appeared; merged requests count as one."},
		{Name: "disk.writes_total", Kind: metrics.Counter, Labels: []string{"device"}, Help: "Writes completed since the device appeared; merged requests count as one."},
		{Name: "disk.read_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"device"}, Help: "Bytes read per second since the last reading. No sample at the first reading and after a reset or wrap of a counter."},
		{Name: "disk.written_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"device"}, Help: "Bytes written per second since the last reading."},
		{Name: "disk.reads_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"device"}, Help: "Reads completed per second since the last reading."},
		{Name: "disk.writes_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"device"}, Help: "Writes completed per second since the last reading."},
		{Name: "disk.busy_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"device"}, Help: "Share of the time since the last reading in which at least one request was in progress, 0 to 100. A device that processes several requests at once is not saturated at 100."},
		{Name: "disk.sector_size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"device"}, Source: "/sys/block/*/queue/logical_block_size", Range: metrics.Range{Min: 512, Max: 1 << 26}, Help: "Logical sector size: the smallest unit that the device can address. Read when the device appears and every minute. No sample if sysfs does not have it."},
		{Name: "disk.physical_sector_size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"device"}, Source: "/sys/block/*/queue/physical_block_size", Range: metrics.Range{Min: 512, Max: 1 << 26}, Help: "Physical sector size: the smallest unit that the device writes without reading first."},
	}),
	rows("wireless", "/proc/net/wireless", []metrics.Metric{
		{Name: "wireless.link_quality", Kind: metrics.Gauge, Labels: []string{"interface"}, Range: metrics.Range{Max: 255}, Help: "Link quality on a scale of the driver, for most drivers 0 to 70; 0 without a link."},
		{Name: "wireless.signal_dbm", Kind: metrics.Gauge, Unit: "dBm", Labels: []string{"interface"}, Help: "Strength of the received signal, about -30 (next to the access point) to -90 (barely usable). No sample without a link, or if the driver does not report dBm."},
		{Name: "wireless.noise_dbm", Kind: metrics.Gauge, Unit: "dBm", Labels: []string{"interface"}, Help: "Noise level. Most drivers do not measure it; then there is no sample."},
	}),
	rows("thermal", "/sys/class/thermal/thermal_zone*/temp", []metrics.Metric{
		{Name: "thermal.zone_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"zone", "type"}, Help: "Temperature of a thermal zone: the SoC, a cluster of cores, the GPU, the NPU. `zone` is the name in the kernel, whose number can change at a boot; `type` is the name in the driver. The kernel prescribes thousandths of a degree; kernels that print whole degrees are recognised by the trip points of the zone. A zone that cannot be read, reports less than -100 or more than 250 °C, or a number below 1000 whose unit is not known, has no sample and is reported as an error. A zone that is switched off (`mode` is `disabled`) and cannot be read has no sample."},
		{Name: "thermal.cooling_state", Kind: metrics.Gauge, Labels: []string{"device", "type"}, Source: "/sys/class/thermal/cooling_device*/cur_state", Help: "State of a cooling device, from 0 (off) to thermal.cooling_max_state. For a fan it is the speed step; for a processor or GPU, the number of steps by which its clock is reduced. `device` is the name in the kernel, whose number can change at a boot. Read once a minute."},
		{Name: "thermal.cooling_max_state", Kind: metrics.Gauge, Labels: []string{"device", "type"}, Source: "/sys/class/thermal/cooling_device*/max_state", Help: "The highest state of a cooling device. Read once a minute."},
	}),
	rows("hwmon", "/sys/class/hwmon/hwmon*/temp*_input", []metrics.Metric{
		{Name: "hwmon.temp_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"chip", "sensor"}, Help: "Temperature of a sensor of a monitoring chip. `chip` is the name of the driver, followed by the device if several chips have the same name (nvme-nvme0, nvme-nvme1); `sensor` is the label of the driver, or temp1 and so on. A sensor that cannot be read, reports a fault, less than -100 or more than 250 °C, or a number below 1000 before it has ever reported 1000 thousandths of a degree, has no sample and is reported as an error; a sensor that is switched off has no sample. Read once a minute if the chip is a drive (nvme, drivetemp) or repeats a thermal zone, which thermal.zone_celsius has in each tick."},
		{Name: "hwmon.temp_max_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"chip", "sensor"}, Source: "/sys/class/hwmon/hwmon*/temp*_max", Help: "Temperature above which the chip reports an alarm. Read once a minute. Values beyond any real temperature, by which chips indicate that there is no limit, have no sample."},
		{Name: "hwmon.temp_crit_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"chip", "sensor"}, Source: "/sys/class/hwmon/hwmon*/temp*_crit", Help: "Temperature that is critical, often that of an emergency shutdown. Read once a minute."},
		{Name: "hwmon.in_volts", Kind: metrics.Gauge, Unit: "volts", Labels: []string{"chip", "sensor"}, Source: "/sys/class/hwmon/hwmon*/in*_input", Help: "Voltage of a rail. `sensor` is the label of the driver, or in1 and so on. Read once a minute."},
		{Name: "hwmon.fan_rpm", Kind: metrics.Gauge, Unit: "rpm", Labels: []string{"chip", "sensor"}, Source: "/sys/class/hwmon/hwmon*/fan*_input", Help: "Rotations of a fan per minute; 0 if it stands still. Read once a minute."},
		{Name: "hwmon.curr_amperes", Kind: metrics.Gauge, Unit: "amperes", Labels: []string{"chip", "sensor"}, Source: "/sys/class/hwmon/hwmon*/curr*_input", Help: "Current of a rail. The currents of an ina3221 have the labels of its voltages, so that hwmon_in_volts * hwmon_curr_amperes is the power of a rail. Read once a minute."},
		{Name: "hwmon.power_watts", Kind: metrics.Gauge, Unit: "watts", Labels: []string{"chip", "sensor"}, Source: "/sys/class/hwmon/hwmon*/power*_input", Help: "Power of a rail, for chips that report it. Read once a minute."},
		{Name: "hwmon.alarm", Kind: metrics.Gauge, Labels: []string{"chip", "sensor", "alarm"}, Range: metrics.Range{Max: 1}, Source: "/sys/class/hwmon/hwmon*/*_alarm", Help: "1 while a sensor is beyond a limit, otherwise 0. `alarm` is the kind of the sensor and the limit: temp_crit, in_lcrit, curr_max, or only the kind for an alarm that does not name its limit. On a Raspberry Pi undervoltage is chip rpi_volt, alarm in_lcrit: whether there was any in the 2 s before the last check of its driver, so a shorter interval of the collector misses fewer events. Alarms of voltages are read in each tick, others once a minute."},
	}),
	rows("link", "/sys/class/net/*/operstate", []metrics.Metric{
		{Name: "network.up", Kind: metrics.Gauge, Labels: []string{"interface"}, Range: metrics.Range{Max: 1}, Help: "1 if the interface is up and has a link, otherwise 0. No sample for an interface whose driver does not report it (`operstate` is `unknown`), such as many tunnels and modems. Which interfaces are sampled is configured under network:."},
		{Name: "network.carrier_changes_total", Kind: metrics.Counter, Labels: []string{"interface"}, Source: "/sys/class/net/*/carrier_changes", Help: "How often the link came up or went down since the interface appeared; it reveals a loose plug even between two readings. Read once a minute."},
		{Name: "network.speed_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"interface"}, Source: "/sys/class/net/*/speed", Help: "Speed of the link, in bytes for comparison with the rates: 1.25e8 is 1 Gbit/s. Read once a minute. No sample without a link or for drivers that do not know it, such as those of wireless interfaces."},
		{Name: "network.default_route", Kind: metrics.Gauge, Labels: []string{"interface", "family"}, Range: metrics.Range{Max: 1}, Source: "/proc/net/route, /proc/net/ipv6_route", Help: "1 for the interface whose default route has the lowest metric, 0 for every other interface that has a default route or had one since collectord started. `family` is ipv4 or ipv6. Routes of the main table only. Read once a minute."},
	}),
	rows("board", "/sys/class/devfreq/*/cur_freq", []metrics.Metric{
		{Name: "devfreq.frequency_hertz", Kind: metrics.Gauge, Unit: "hertz", Labels: []string{"device", "type"}, Help: "Frequency of a GPU, NPU, memory controller or other device whose clock follows its load. `device` is the name in the kernel (fb000000.gpu), `type` the name without the address (gpu, npu, dmc). Read once a minute for a device without a load that is no GPU or NPU, such as a display."},
		{Name: "devfreq.load_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"device", "type"}, Source: "/sys/class/devfreq/*/load or device/load, /sys/devices/gpu.*/load", Help: "Load of such a device at its frequency, 0 to 100, as the kernels of Rockchip and NVIDIA report it; other kernels do not. The load of Rockchip's NPU is correct only in /sys/kernel/debug/rknpu/load, which only root can read and which is not sampled."},
		{Name: "mpp.load_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"engine"}, Range: metrics.Range{Max: 1600}, Source: "/proc/mpp_service/load", Help: "Share of the time in which a video engine of a Rockchip SoC had work; more than 100 for several cores in one queue. Only with a kernel of Rockchip, and only after root has written an interval in ms to /proc/mpp_service/load_interval. Many of these kernels repeat the last value when an engine stops working."},
		{Name: "mpp.utilization_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"engine"}, Range: metrics.Range{Max: 1600}, Source: "/proc/mpp_service/load", Help: "Share of the time in which the hardware of the engine was busy."},
		{Name: "throttling.active", Kind: metrics.Gauge, Labels: []string{"reason"}, Range: metrics.Range{Max: 1}, Source: "/sys/devices/platform/soc/soc:firmware/get_throttled", Help: "1 while a Raspberry Pi is limited for a `reason`: undervoltage, frequency_capped, throttled, soft_temperature_limit. Kernels without this file, as on most Raspberry Pi 5, have the undervoltage as hwmon.alarm of the chip rpi_volt."},
		{Name: "throttling.occurred", Kind: metrics.Gauge, Labels: []string{"reason"}, Range: metrics.Range{Max: 1}, Source: "/sys/devices/platform/soc/soc:firmware/get_throttled", Help: "1 if that has happened since the firmware's flags were last cleared: at boot, and every 2 s by the driver of the chip rpi_volt if it is loaded."},
		{Name: "power.online", Kind: metrics.Gauge, Labels: []string{"supply"}, Range: metrics.Range{Max: 2}, Source: "/sys/class/power_supply/*/online", Help: "1 if the power supply delivers power, 2 if it does so at a negotiated voltage, otherwise 0. Read once a minute."},
		{Name: "power.capacity_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"supply"}, Source: "/sys/class/power_supply/*/capacity", Help: "Charge of a battery, 0 to 100. Read once a minute."},
		{Name: "power.voltage_volts", Kind: metrics.Gauge, Unit: "volts", Labels: []string{"supply"}, Source: "/sys/class/power_supply/*/voltage_now", Help: "Voltage of a battery or power supply. Read once a minute."},
		{Name: "power.current_amperes", Kind: metrics.Gauge, Unit: "amperes", Labels: []string{"supply"}, Source: "/sys/class/power_supply/*/current_now", Help: "Current of a battery or power supply. Which sign means charging depends on the driver. Read once a minute."},
		{Name: "power.status", Kind: metrics.Gauge, Labels: []string{"supply"}, Range: metrics.Range{Max: 4}, Source: "/sys/class/power_supply/*/status", Help: "0 unknown, 1 charging, 2 discharging, 3 not charging, 4 full. Read once a minute."},
		{Name: "emmc.life_used_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"device", "memory"}, Source: "/sys/block/mmcblk*/device/life_time", Help: "The least share of its life that an eMMC has used, in steps of ten: 90 means 90 to 100, 100 means more. `memory` is a or b: the two types of memory that a device may have. Read once a minute. SD cards do not report it."},
		{Name: "emmc.pre_eol", Kind: metrics.Gauge, Labels: []string{"device"}, Range: metrics.Range{Min: 1, Max: 3}, Source: "/sys/block/mmcblk*/device/pre_eol_info", Help: "Spare blocks of an eMMC: 1 normal, 2 more than 80 % used, 3 more than 90 % used. Read once a minute."},
		{Name: "watchdog.boot_status", Kind: metrics.Gauge, Labels: []string{"watchdog"}, Range: metrics.Range{Max: 65535}, Source: "/sys/class/watchdog/*/bootstatus", Help: "Why the machine last started, as a hardware watchdog reports it; a sum of 1 overheating, 2 fan fault, 4 and 8 external relays, 16 low voltage, 32 reset by the watchdog, 64 high voltage. Most drivers report 0 or 32. Read once a minute."},
	}),
	rows("services", "/sys/fs/cgroup", []metrics.Metric{
		{Name: "services.up", Kind: metrics.Gauge, Labels: []string{"service"}, Range: metrics.Range{Max: 1}, Source: "cgroup.events (cgroup.procs)", Help: "1 if the unit has processes, otherwise 0. For the units of `services` in the configuration. The source in parentheses is that of control groups version 1. Units of a user's systemd have its name as a prefix: user@1000.service/x.service."},
		{Name: "services.start_time_seconds", Kind: metrics.Gauge, Unit: "seconds", Labels: []string{"service"}, Source: "time of the control group", Help: "Unix time at which the unit was started, by the clock at that time; at most slightly earlier than the start of its first process. No sample while the unit is down."},
		{Name: "services.cpu_seconds_total", Kind: metrics.Counter, Unit: "seconds", Labels: []string{"service"}, Source: "cpu.stat (cpuacct.usage)", Help: "CPU time of all processes of the unit since it was started. No sample where systemd does not account for it."},
		{Name: "services.memory_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"service"}, Source: "memory.current (memory.usage_in_bytes)", Help: "Memory of the unit, including cached files, as systemctl shows it. No sample where systemd does not account for it. Read once a minute."},
		{Name: "services.oom_kills_total", Kind: metrics.Counter, Labels: []string{"service"}, Source: "memory.events (memory.oom_control)", Help: "Processes of the unit that were killed for lack of memory since it was started. Read once a minute."},
		{Name: "services.restarts_total", Kind: metrics.Counter, Labels: []string{"service"}, Source: "a new control group", Help: "Restarts of the unit that collectord has seen since its own start. Several restarts within one tick count once."},
	}),
	rows("filesystem", "/proc/self/mounts, statfs", []metrics.Metric{
		{Name: "filesystem.size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Size of a file system. File systems in memory or of the kernel (tmpfs, proc, cgroup2 …) and read-only images (squashfs …) are not sampled. A device that is mounted several times has samples for its shortest mount point only."},
		{Name: "filesystem.free_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Unused bytes, including those that are reserved for root."},
		{Name: "filesystem.available_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Bytes that are available to an unprivileged program."},
		{Name: "filesystem.files_free", Kind: metrics.Gauge, Labels: []string{"mountpoint", "fstype"}, Range: metrics.Range{Max: 1 << 62}, Help: "Number of files that can still be created (free inodes). No sample for file systems without a fixed number of inodes, such as vfat and btrfs."},
	}),
	rows("textfile", "`*.prom`", []metrics.Metric{
		{Name: "textfile.mtime_seconds", Kind: metrics.Gauge, Unit: "seconds", Labels: []string{"file"}, Help: "Unix time at which the version of the file that was read last was written (`collection.textfile.directory`)."},
		{Name: "textfile.failed", Kind: metrics.Gauge, Labels: []string{"file"}, Range: metrics.Range{Max: 1}, Help: "1 if something is wrong with the file, as in `/health`: it cannot be read, is too old, or has lines that are refused. Otherwise 0."},
		{Name: "textfile.series", Kind: metrics.Gauge, Labels: []string{"file"}, Help: "Series of the file that are sampled; 0 for a file that is refused."},
		{Name: "textfile.samples_refused_total", Kind: metrics.Counter, Labels: []string{"reason"}, Help: "Samples of files that were refused since collectord started, by reason: the timestamp is too old (old) or lies in a time when the device was off (gap), the file changed before the sample was stored (replaced), or the value is infinite (value)."},
	}),
)

// interfaceSpeed is 100 Gbit/s.
var interfaceSpeed = metrics.Range{Max: 1.25e10}

// rows completes the metrics of one collector; source is the kernel file of those
// that do not name another.
func rows(collector, source string, list []metrics.Metric) []metrics.Metric {
	for i := range list {
		list[i].Collector, list[i].Source = collector, cmp.Or(list[i].Source, source)
	}
	return list
}

var tableByName = func() map[string]*metrics.Metric {
	byName := make(map[string]*metrics.Metric, len(Table))
	for i := range Table {
		byName[Table[i].Name] = &Table[i]
	}
	return byName
}()
