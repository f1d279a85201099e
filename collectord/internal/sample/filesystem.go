package sample

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// DefaultMaxFilesystems bounds how many file systems are taken.
const DefaultMaxFilesystems = 32

// FilesystemOptions are the configuration of the filesystem collector.
type FilesystemOptions struct {
	MaxFilesystems int // 0: DefaultMaxFilesystems
}

// Numbers of the metrics in filesystemMetrics.
const (
	filesystemSize = iota
	filesystemFree
	filesystemAvailable
	filesystemFilesFree
	filesystemMetricCount
)

var filesystemLabels = []string{"mountpoint", "fstype"}

var filesystemMetrics = []*Metric{
	filesystemSize: {
		Name: "filesystem.size_bytes", Kind: KindGauge, Unit: "bytes", Labels: filesystemLabels,
		Help:   "Size of a file system. Those in memory or of the kernel's own making (tmpfs, proc, cgroup2 …) and read-only images (squashfs …) are left out, and of one device that is mounted at several places the shortest mount point stands for all.",
		Source: "/proc/self/mounts, statfs", Collector: "filesystem",
	},
	filesystemFree: {
		Name: "filesystem.free_bytes", Kind: KindGauge, Unit: "bytes", Labels: filesystemLabels,
		Help:   "Bytes that are not in use, with those that are kept for root.",
		Source: "/proc/self/mounts, statfs", Collector: "filesystem",
	},
	filesystemAvailable: {
		Name: "filesystem.available_bytes", Kind: KindGauge, Unit: "bytes", Labels: filesystemLabels,
		Help:   "Bytes that a program without root's rights can still write.",
		Source: "/proc/self/mounts, statfs", Collector: "filesystem",
	},
	filesystemFilesFree: {
		Name: "filesystem.files_free", Kind: KindGauge, Labels: filesystemLabels,
		Help:   "Files that can still be made (free inodes). No sample where the file system has no fixed number of them, such as vfat and btrfs.",
		Source: "/proc/self/mounts, statfs", Collector: "filesystem",
	},
}

// localTypes are file systems whose statfs only reads numbers in memory. They
// are asked directly. All others go through the guard: network file systems
// because they hang when their server does, and vfat, exfat and their
// like because the first question may make them read their whole table from a
// card that is slow or dying.
var localTypes = map[string]bool{
	"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "f2fs": true,
}

// filesystem reads the mount table and asks each file system for its room.
type filesystem struct {
	registry *Registry
	max      int
	mounts   *proc.Mounts
	stat     func(path string) statfser
	volumes  []*volume
	guard    *guard
	guarded  []*call // of volumes
}

type statfser interface {
	// Usage may hang.
	Usage() (proc.FilesystemUsage, error)
}

// volume is what is kept of one file system as long as it is mounted.
type volume struct {
	mount  proc.Mount
	series [filesystemMetricCount]*store.Series
	ask    func()
	call   *call // nil for a local type

	usage proc.FilesystemUsage // answer of ask
	err   error
}

// NewFilesystem returns the collector "filesystem". Wrong options are an error.
func NewFilesystem(fs proc.FS, reg *Registry, opt FilesystemOptions) (Collector, error) {
	if opt.MaxFilesystems == 0 {
		opt.MaxFilesystems = DefaultMaxFilesystems
	}
	if opt.MaxFilesystems < 0 {
		return nil, fmt.Errorf("max filesystems: %d: want 1 or more", opt.MaxFilesystems)
	}
	return &filesystem{
		registry: reg,
		max:      opt.MaxFilesystems,
		mounts:   proc.NewMounts(fs),
		stat:     func(path string) statfser { return proc.NewFilesystemStat(path) },
		guard:    newGuard(),
	}, nil
}

// Name implements Collector.
func (c *filesystem) Name() string { return "filesystem" }

// Collect implements Collector.
func (c *filesystem) Collect(at time.Time, out *Batch) error {
	mounts, changed, err := c.mounts.Read()
	if err := out.failPart(len(mounts), err); err != nil {
		return err
	}
	if changed {
		c.remount(mounts, out)
	}
	for _, v := range c.volumes {
		if v.call == nil {
			v.ask()
		}
	}
	c.guard.ask(at, c.guarded)
	hidden := false
	for _, v := range c.volumes {
		if v.call != nil && !v.call.answered {
			out.Fail(v.call.silence(v.mount.Path, at))
			continue
		}
		v.add(out)
		hidden = hidden || v.hidden()
	}
	if hidden { // said above, once; asking again changes nothing
		c.keep(slices.DeleteFunc(c.volumes, (*volume).hidden))
	}
	return nil
}

// remount follows a change of the mount table. A volume that stays keeps its
// state, above all a call that hangs.
func (c *filesystem) remount(mounts []proc.Mount, out *Batch) {
	known := make(map[proc.Mount]*volume, len(c.volumes))
	for _, v := range c.volumes {
		known[v.mount] = v
	}
	chosen, left := chooseMounts(mounts, c.max)
	if left > 0 {
		out.Fail(fmt.Errorf("%d file systems left out, because at most %d are taken", left, c.max))
	}
	volumes := make([]*volume, len(chosen))
	for i, mount := range chosen {
		volumes[i] = known[mount]
		if volumes[i] == nil {
			volumes[i] = c.newVolume(mount)
		}
	}
	c.keep(volumes)
}

// keep sets the volumes.
func (c *filesystem) keep(volumes []*volume) {
	c.volumes, c.guarded = volumes, nil
	for _, v := range volumes {
		if v.call != nil {
			c.guarded = append(c.guarded, v.call)
		}
	}
}

func (c *filesystem) newVolume(mount proc.Mount) *volume {
	stat := c.stat(mount.Path)
	v := &volume{mount: mount}
	v.ask = func() { v.usage, v.err = stat.Usage() }
	if !localTypes[mount.Type] {
		v.call = newCall(v.ask)
	}
	for i, m := range filesystemMetrics {
		v.series[i] = c.registry.Series(m, labelText(mount.Point), mount.Type)
	}
	return v
}

// hidden tells whether this process may not look at the volume.
func (v *volume) hidden() bool { return errors.Is(v.err, os.ErrPermission) }

// add adds the answer of a volume.
func (v *volume) add(out *Batch) {
	switch {
	case v.hidden():
		out.Fail(fmt.Errorf("%w: left out until the mount table changes; let collectord's user pass the folders above it, or in a container see collection.rootfs_path", v.err))
	case v.err != nil:
		out.Fail(v.err)
	case v.usage.Size == 0:
		// A pseudo file system of a kind that is not known here.
	default:
		out.Add(v.series[filesystemSize], v.usage.Size)
		out.Add(v.series[filesystemFree], v.usage.Free)
		out.Add(v.series[filesystemAvailable], v.usage.Available)
		if v.usage.Files > 0 {
			out.Add(v.series[filesystemFilesFree], float64(v.usage.FilesFree))
		}
	}
}
