package sample

import (
	"cmp"
	"slices"

	"belabox-metrics/shared/metrics"
)

//go:generate go test . -run ^TestMetricsDoc$ -update

// Table describes every metric of this machine, collector by collector in the
// order in which a tick reads them. Series are made from it by name; with the tables
// of the self-metrics it makes docs/metrics.md.
var Table = slices.Concat(
	rows("cpu", "/proc/stat", []metrics.Metric{
		{Name: "cpu.usage_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"core"}, Help: "Share of the time since the last reading in which the core was neither idle nor waiting for I/O, 0 to 100; core `all` is all cores together. Time of guests counts once. An offline core has no sample."},
		{Name: "cpu.iowait_percent", Kind: metrics.Gauge, Unit: "percent", Help: "Share of the time of all cores that was idle while a task waited for I/O, 0 to 100. Not available per core, because the kernel documents that value as unreliable."},
		{Name: "cpu.steal_percent", Kind: metrics.Gauge, Unit: "percent", Help: "Share of the time of all cores that the hypervisor gave to others, 0 to 100."},
		{Name: "cpu.frequency_hertz", Kind: metrics.Gauge, Unit: "hertz", Labels: []string{"core"}, Source: "/sys/devices/system/cpu/cpuN/cpufreq/scaling_cur_freq", Help: "Current frequency of the core. Cores of one cluster share it. Machines without frequency scaling, such as most virtual machines, have no sample."},
		{Name: "system.context_switches_total", Kind: metrics.Counter, Help: "Context switches on all cores since boot."},
		{Name: "system.processes_running", Kind: metrics.Gauge, Help: "Tasks that run or wait for a core, at least 1: the reader itself."},
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
		{Name: "network.receive_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"interface"}, Help: "Bytes received per second since the last reading. No sample at the first reading and after a reset or wrap of a counter; drivers that count in 32 bits wrap every 4 GiB."},
		{Name: "network.transmit_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"interface"}, Help: "Bytes sent per second since the last reading."},
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
		{Name: "disk.sector_size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"device"}, Source: "/sys/block/*/queue/logical_block_size", Help: "Logical sector size: the smallest unit that the device can address. Read when the device appears and every minute. No sample if sysfs does not have it."},
		{Name: "disk.physical_sector_size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"device"}, Source: "/sys/block/*/queue/physical_block_size", Help: "Physical sector size: the smallest unit that the device writes without reading first."},
	}),
	rows("wireless", "/proc/net/wireless", []metrics.Metric{
		{Name: "wireless.link_quality", Kind: metrics.Gauge, Labels: []string{"interface"}, Help: "Link quality on a scale of the driver, for most drivers 0 to 70; 0 without a link."},
		{Name: "wireless.signal_dbm", Kind: metrics.Gauge, Unit: "dBm", Labels: []string{"interface"}, Help: "Strength of the received signal, about -30 (next to the access point) to -90 (barely usable). No sample without a link, or if the driver does not report dBm."},
		{Name: "wireless.noise_dbm", Kind: metrics.Gauge, Unit: "dBm", Labels: []string{"interface"}, Help: "Noise level. Most drivers do not measure it; then there is no sample."},
	}),
	rows("thermal", "/sys/class/thermal/thermal_zone*/temp", []metrics.Metric{
		{Name: "thermal.zone_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"zone", "type"}, Help: "Temperature of a thermal zone: the SoC, a cluster of cores, the GPU, the NPU. `zone` is the name in the kernel, whose number can change at a boot; `type` is the name in the driver. A zone that cannot be read, or reports less than -100 or more than 250 °C, has no sample and is reported as an error."},
	}),
	rows("hwmon", "/sys/class/hwmon/hwmon*/temp*_input", []metrics.Metric{
		{Name: "hwmon.temp_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"chip", "sensor"}, Help: "Temperature of a sensor of a monitoring chip. `chip` is the name of the driver, followed by the device if several chips have the same name (nvme-nvme0, nvme-nvme1); `sensor` is the label of the driver, or temp1 and so on. A sensor that cannot be read, reports a fault, or reports less than -100 or more than 250 °C has no sample and is reported as an error; a sensor that is switched off has no sample."},
	}),
	rows("filesystem", "/proc/self/mounts, statfs", []metrics.Metric{
		{Name: "filesystem.size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Size of a file system. File systems in memory or of the kernel (tmpfs, proc, cgroup2 …) and read-only images (squashfs …) are not sampled. A device that is mounted several times has samples for its shortest mount point only."},
		{Name: "filesystem.free_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Unused bytes, including those that are reserved for root."},
		{Name: "filesystem.available_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Bytes that are available to an unprivileged program."},
		{Name: "filesystem.files_free", Kind: metrics.Gauge, Labels: []string{"mountpoint", "fstype"}, Help: "Number of files that can still be created (free inodes). No sample for file systems without a fixed number of inodes, such as vfat and btrfs."},
	}),
)

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
