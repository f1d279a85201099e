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
		{Name: "cpu.usage_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"core"}, Help: "Share of the time since the last reading in which the core did anything but idle or wait for I/O, 0 to 100; core `all` is all of them together. Time given to guests counts once. An offline core has no sample."},
		{Name: "cpu.iowait_percent", Kind: metrics.Gauge, Unit: "percent", Help: "Share of the time of all cores that was idle while a task waited for I/O, 0 to 100. Not kept per core: the kernel calls that number unreliable."},
		{Name: "cpu.steal_percent", Kind: metrics.Gauge, Unit: "percent", Help: "Share of the time of all cores that the hypervisor gave to others, 0 to 100."},
		{Name: "cpu.frequency_hertz", Kind: metrics.Gauge, Unit: "hertz", Labels: []string{"core"}, Source: "/sys/devices/system/cpu/cpuN/cpufreq/scaling_cur_freq", Help: "Present frequency of the core. Cores of one cluster share it. Machines without frequency scaling, most virtual ones, have no sample."},
		{Name: "system.context_switches_total", Kind: metrics.Counter, Help: "Context switches on all cores since boot."},
		{Name: "system.processes_running", Kind: metrics.Gauge, Help: "Tasks on a core or waiting for one, at least 1: the reader itself."},
		{Name: "system.processes_blocked", Kind: metrics.Gauge, Help: "Tasks waiting for I/O."},
	}),
	rows("memory", "/proc/meminfo", []metrics.Metric{
		{Name: "memory.total_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "Memory that the kernel can use, which is less than what is built in (MemTotal)."},
		{Name: "memory.used_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "MemTotal − MemAvailable: what programs and the kernel hold and could not give back without swapping."},
		{Name: "memory.available_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "What new programs could get without swapping (MemAvailable). Kernels before 3.14 do not tell; there it is MemFree + Active(file) + Inactive(file) + SReclaimable, a little too high."},
		{Name: "memory.swap_total_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "Size of all swap areas; 0 without swap."},
		{Name: "memory.swap_used_bytes", Kind: metrics.Gauge, Unit: "bytes", Help: "SwapTotal − SwapFree."},
	}),
	rows("load", "/proc/loadavg", []metrics.Metric{
		{Name: "load.average_1m", Kind: metrics.Gauge, Help: "Mean number of tasks that ran, waited for a core or waited for a disk, over about 1 minute."},
		{Name: "load.average_5m", Kind: metrics.Gauge, Help: "The same over about 5 minutes."},
		{Name: "load.average_15m", Kind: metrics.Gauge, Help: "The same over about 15 minutes."},
	}),
	rows("system", "/proc/uptime", []metrics.Metric{
		{Name: "system.uptime_seconds", Kind: metrics.Gauge, Unit: "seconds", Help: "Time since boot, time asleep included."},
		{Name: "system.boot_time_seconds", Kind: metrics.Gauge, Unit: "seconds", Source: "/proc/stat", Help: "Unix time of the boot. It moves when the wall clock is set, for example by NTP on a board without a battery."},
		{Name: "system.kernel_release", Kind: metrics.Text, Source: "/proc/sys/kernel/osrelease", Help: "Release of the running kernel, as `uname -r` prints it."},
		{Name: "system.os_name", Kind: metrics.Text, Source: "/etc/os-release", Help: "Name and version of the distribution (PRETTY_NAME)."},
		{Name: "system.board_model", Kind: metrics.Text, Source: "/proc/device-tree/model or /sys/class/dmi/id/product_name", Help: "Name of the board from the device tree, else the product name from the firmware. Absent where neither is."},
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
		{Name: "network.receive_errors_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Packets that arrived broken, since the interface appeared."},
		{Name: "network.transmit_errors_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Packets that could not be sent, since the interface appeared."},
		{Name: "network.receive_drops_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Good packets that were thrown away on arrival, those that the hardware had no room for included, since the interface appeared."},
		{Name: "network.transmit_drops_total", Kind: metrics.Counter, Labels: []string{"interface"}, Help: "Packets that were thrown away instead of being sent, since the interface appeared."},
		{Name: "network.receive_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"interface"}, Help: "Bytes received per second since the last reading. No sample at the first reading and after a reset or wrap of a counter; drivers that count in 32 bits wrap every 4 GiB."},
		{Name: "network.transmit_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"interface"}, Help: "Bytes sent per second since the last reading."},
		{Name: "network.receive_packets_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"interface"}, Help: "Packets received per second since the last reading."},
		{Name: "network.transmit_packets_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"interface"}, Help: "Packets sent per second since the last reading."},
		{Name: "network.interfaces_dropped_total", Kind: metrics.Counter, Help: "Interfaces left out because there were more than network.max_interfaces, since collectord started. Each counts once for each time that it loses its place or comes and finds none, not once a tick: 40 interfaces with 32 places make 8."},
	}),
	rows("disk", "/proc/diskstats", []metrics.Metric{
		{Name: "disk.read_bytes_total", Kind: metrics.Counter, Unit: "bytes", Labels: []string{"device"}, Help: "Bytes read since the device appeared. The kernel counts 512-byte units whatever sector size the device has."},
		{Name: "disk.written_bytes_total", Kind: metrics.Counter, Unit: "bytes", Labels: []string{"device"}, Help: "Bytes written since the device appeared."},
		{Name: "disk.reads_total", Kind: metrics.Counter, Labels: []string{"device"}, Help: "Reads completed since the device appeared; neighbouring requests that were merged count as one."},
		{Name: "disk.writes_total", Kind: metrics.Counter, Labels: []string{"device"}, Help: "Writes completed since the device appeared; merged ones count as one."},
		{Name: "disk.read_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"device"}, Help: "Bytes read per second since the last reading. No sample at the first reading and after a reset or wrap of a counter."},
		{Name: "disk.written_bytes_per_second", Kind: metrics.Gauge, Unit: "bytes per second", Labels: []string{"device"}, Help: "Bytes written per second since the last reading."},
		{Name: "disk.reads_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"device"}, Help: "Reads completed per second since the last reading."},
		{Name: "disk.writes_per_second", Kind: metrics.Gauge, Unit: "per second", Labels: []string{"device"}, Help: "Writes completed per second since the last reading."},
		{Name: "disk.busy_percent", Kind: metrics.Gauge, Unit: "percent", Labels: []string{"device"}, Help: "Share of the time since the last reading in which at least one request was under way, 0 to 100. A device that serves many at once is not full at 100."},
		{Name: "disk.sector_size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"device"}, Source: "/sys/block/*/queue/logical_block_size", Help: "Logical sector size: the smallest unit that the device can be asked for. Read when the device appears and every minute. No sample where sysfs does not tell."},
		{Name: "disk.physical_sector_size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"device"}, Source: "/sys/block/*/queue/physical_block_size", Help: "Physical sector size: the smallest unit that the device writes without reading first."},
	}),
	rows("wireless", "/proc/net/wireless", []metrics.Metric{
		{Name: "wireless.link_quality", Kind: metrics.Gauge, Labels: []string{"interface"}, Help: "Quality of the link on a scale of the driver's own, 0 to 70 for most; 0 without a link."},
		{Name: "wireless.signal_dbm", Kind: metrics.Gauge, Unit: "dBm", Labels: []string{"interface"}, Help: "Strength of the received signal, about -30 (beside the access point) to -90 (barely there). No sample without a link, nor where the driver has no dBm."},
		{Name: "wireless.noise_dbm", Kind: metrics.Gauge, Unit: "dBm", Labels: []string{"interface"}, Help: "Strength of the noise. Most drivers do not measure it and have no sample."},
	}),
	rows("thermal", "/sys/class/thermal/thermal_zone*/temp", []metrics.Metric{
		{Name: "thermal.zone_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"zone", "type"}, Help: "Temperature of a thermal zone: the SoC, a cluster of cores, the GPU, the NPU. `zone` is the kernel's name for it, whose number may be another one after a boot, `type` the driver's. A zone that does not answer, or with less than -100 or more than 250 °C, has no sample and is an error of its own."},
	}),
	rows("hwmon", "/sys/class/hwmon/hwmon*/temp*_input", []metrics.Metric{
		{Name: "hwmon.temp_celsius", Kind: metrics.Gauge, Unit: "celsius", Labels: []string{"chip", "sensor"}, Help: "Temperature of a sensor of a monitoring chip. `chip` is the driver's name, with that of its device behind it where several chips have the same name (nvme-nvme0, nvme-nvme1); `sensor` is the driver's label, or temp1 and so on without one. A sensor that does not answer, reports a fault, or tells less than -100 or more than 250 °C has no sample and is an error of its own; one that is switched off has no sample."},
	}),
	rows("filesystem", "/proc/self/mounts, statfs", []metrics.Metric{
		{Name: "filesystem.size_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Size of a file system. Those in memory or of the kernel's own making (tmpfs, proc, cgroup2 …) and read-only images (squashfs …) are left out, and of one device that is mounted at several places the shortest mount point stands for all."},
		{Name: "filesystem.free_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Bytes that are not in use, with those that are kept for root."},
		{Name: "filesystem.available_bytes", Kind: metrics.Gauge, Unit: "bytes", Labels: []string{"mountpoint", "fstype"}, Help: "Bytes that a program without root's rights can still write."},
		{Name: "filesystem.files_free", Kind: metrics.Gauge, Labels: []string{"mountpoint", "fstype"}, Help: "Files that can still be made (free inodes). No sample where the file system has no fixed number of them, such as vfat and btrfs."},
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
