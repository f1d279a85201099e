package sample

import (
	"slices"
	"strings"

	"belabox-metrics/collectord/internal/proc"
)

// pseudoTypes hold no files on a disk, or are images that are always full.
var pseudoTypes = map[string]bool{
	// Of the kernel's own making.
	"autofs": true, "binfmt_misc": true, "bpf": true, "cgroup": true, "cgroup2": true, "configfs": true,
	"debugfs": true, "devpts": true, "devtmpfs": true, "efivarfs": true, "fusectl": true, "hugetlbfs": true,
	"mqueue": true, "nfsd": true, "nsfs": true, "proc": true, "pstore": true, "resctrl": true,
	"rpc_pipefs": true, "securityfs": true, "selinuxfs": true, "smackfs": true, "sysfs": true, "tracefs": true,
	// In memory, so that memory.used_bytes has them already.
	"ramfs": true, "rootfs": true, "tmpfs": true,
	// Read-only images: snaps, live systems, optical discs.
	"cramfs": true, "erofs": true, "iso9660": true, "romfs": true, "squashfs": true, "udf": true,
}

// leftOut reports whether a mount is not sampled. An overlay shows the space
// of the disk below it once more, for each container; only one that is the root
// of the system shows something else. FUSE file systems (sshfs,
// rclone, a desktop's portals; not fuseblk, which is a disk) are never read: a
// call to one whose server hangs makes this process unkillable, and its lock
// with it, until that server is gone.
func leftOut(m proc.Mount) bool {
	return pseudoTypes[m.Type] || m.Type == "fuse" || strings.HasPrefix(m.Type, "fuse.") || m.Type == "overlay" && m.Point != "/"
}

// chooseMounts returns the mounts to sample, at most limit, in the order in which
// they were made, and how many more there would be.
func chooseMounts(mounts []proc.Mount, limit int) (chosen []proc.Mount, left int) {
	chosen = onePerSource(slices.DeleteFunc(visible(mounts), leftOut))
	left = max(0, len(chosen)-limit)
	return chosen[:len(chosen)-left], left
}

// visible leaves out the mounts that a later one at the same point or above it
// covers, as a service's sandbox does with /home: statfs would answer for the
// later one, or find nothing. A later root covers only an earlier root, because
// at boot what is mounted already is moved onto it.
func visible(mounts []proc.Mount) []proc.Mount {
	last := make(map[string]int, len(mounts))
	for i, m := range mounts {
		last[m.Point] = i
	}
	var list []proc.Mount
	for i, m := range mounts {
		covered := last[m.Point] > i
		for end := strings.LastIndexByte(m.Point, '/'); end > 0 && !covered; end = strings.LastIndexByte(m.Point[:end], '/') {
			covered = last[m.Point[:end]] > i
		}
		if !covered {
			list = append(list, m)
		}
	}
	return list
}

// onePerSource leaves of the mounts of one device, or of one export of a server,
// only that with the shortest mount point, of equally short ones the first:
// bind mounts, subvolumes and the file mounts of containers all have the same
// space. A source that is only a word, as "tmpfs" or "sshfs", identifies nothing.
func onePerSource(mounts []proc.Mount) []proc.Mount {
	best := make(map[string]int, len(mounts))
	for i, m := range mounts {
		if b, ok := best[m.Source]; !ok || len(m.Point) < len(mounts[b].Point) {
			best[m.Source] = i
		}
	}
	var list []proc.Mount
	for i, m := range mounts {
		if best[m.Source] == i || !isPlace(m.Source) {
			list = append(list, m)
		}
	}
	return list
}

// isPlace reports whether a source names one place: "/dev/sda1", "//server/share",
// "server:/export".
func isPlace(source string) bool {
	return strings.HasPrefix(source, "/") || strings.Contains(source, ":/")
}
