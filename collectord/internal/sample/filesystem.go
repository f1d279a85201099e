package sample

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"belabox-metrics/collectord/internal/proc"
)

// maxFilesystems bounds how many file systems are taken.
const maxFilesystems = 32

// localTypes are file systems whose statfs only reads numbers in memory. They
// are read directly. All others go through a call: network file systems
// because they hang when their server does, and vfat, exfat and their
// like because the first question may make them read their whole table from a
// card that is slow or dying.
var localTypes = map[string]bool{
	"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "f2fs": true,
}

// filesystem reads the mount table and the usage of each file system.
type filesystem struct {
	registry *Registry
	mounts   *proc.Mounts
	statfs   func(path string) (proc.FilesystemUsage, error) // may hang
	volumes  []*volume
	waiter   *waiter
	calls    []*call // of volumes
}

// volume is what is kept of one file system as long as it is mounted.
type volume struct {
	mount                            proc.Mount
	readOnly                         bool
	size, free, available, filesFree *Series
	node                             []*Series // in the order of filesystemNames
	read                             func()
	call                             *call // nil for a local type

	usage proc.FilesystemUsage // result of read
	err   error
}

// NewFilesystem returns the collector "filesystem".
func NewFilesystem(fs proc.FS, reg *Registry) Collector {
	return &filesystem{
		registry: reg,
		mounts:   proc.NewMounts(fs),
		statfs:   proc.Statfs,
		waiter:   newWaiter(),
	}
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
			v.read()
		}
	}
	c.waiter.call(at, c.calls)
	hidden := false
	for _, v := range c.volumes {
		if v.call != nil && !v.call.answered {
			v.addNode(out, false)
			out.Fail(v.call.timeout(v.mount.Path, at), labelText(v.mount.Point))
			continue
		}
		v.add(out)
		hidden = hidden || v.hidden()
	}
	if hidden { // reported above, once; reading again changes nothing
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
	chosen, left := chooseMounts(mounts, maxFilesystems)
	if left > 0 {
		out.Fail(fmt.Errorf("%d file systems left out, the limit is %d", left, maxFilesystems))
	}
	volumes := make([]*volume, len(chosen))
	for i, mount := range chosen {
		key := mount
		key.ReadOnly = false // which may change, and it is the same volume
		volumes[i] = known[key]
		if volumes[i] == nil {
			volumes[i] = c.newVolume(key)
		}
		volumes[i].readOnly = mount.ReadOnly
	}
	c.keep(volumes)
}

// keep sets the volumes.
func (c *filesystem) keep(volumes []*volume) {
	c.volumes, c.calls = volumes, nil
	for _, v := range volumes {
		if v.call != nil {
			c.calls = append(c.calls, v.call)
		}
	}
}

func (c *filesystem) newVolume(mount proc.Mount) *volume {
	point, typ := labelText(mount.Point), mount.Type
	v := &volume{
		mount:     mount,
		size:      c.registry.Series("filesystem.size_bytes", point, typ),
		free:      c.registry.Series("filesystem.free_bytes", point, typ),
		available: c.registry.Series("filesystem.available_bytes", point, typ),
		filesFree: c.registry.Series("filesystem.files_free", point, typ),
	}
	v.node = c.registry.node("filesystem").columns(filesystemNames, "device", mount.Source, "mountpoint", mount.Point, "fstype", typ)
	v.read = func() { v.usage, v.err = c.statfs(mount.Path) }
	if !localTypes[mount.Type] {
		v.call = newCall(v.read)
	}
	return v
}

// hidden reports whether this process has no access to the volume.
func (v *volume) hidden() bool { return errors.Is(v.err, os.ErrPermission) }

// filesystemNames are the metrics of node_exporter.
var filesystemNames = []nodeColumn{
	{"node_filesystem_device_error", 1},
	{"node_filesystem_readonly", 1},
	{"node_filesystem_size_bytes", 1},
	{"node_filesystem_free_bytes", 1},
	{"node_filesystem_avail_bytes", 1},
	{"node_filesystem_files", 1},
	{"node_filesystem_files_free", 1},
}

// addNode adds the series of node_exporter, of a volume that has answered or not.
func (v *volume) addNode(out *Batch, answered bool) {
	if v.node == nil {
		return
	}
	u, n := &v.usage, v.node
	if !answered {
		out.Add(n[0], 1)
		return
	}
	out.Add(n[0], 0)
	out.Add(n[1], flag(v.readOnly))
	out.Add(n[2], u.Size)
	out.AddPart(n[3], u.Free, u.Size)
	out.AddPart(n[4], u.Available, u.Size)
	out.Add(n[5], float64(u.Files))
	out.AddPart(n[6], float64(u.FilesFree), float64(u.Files))
}

// flag is 1 for true.
func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// add adds the answer of a volume.
func (v *volume) add(out *Batch) {
	if v.err != nil || v.usage.Size > 0 {
		v.addNode(out, v.err == nil)
	}
	switch {
	case v.hidden():
		out.Fail(fmt.Errorf("%w: left out until the mount table changes; give collectord's user access to the directories above it; for a container see collection.rootfs_path", v.err), labelText(v.mount.Point))
	case v.err != nil:
		out.Fail(v.err, labelText(v.mount.Point))
	case v.usage.Size == 0:
		// A pseudo file system of a kind that is not known here.
	default:
		out.Add(v.size, v.usage.Size)
		out.AddPart(v.free, v.usage.Free, v.usage.Size)
		out.AddPart(v.available, v.usage.Available, v.usage.Size)
		if v.usage.Files > 0 {
			out.AddPart(v.filesFree, float64(v.usage.FilesFree), float64(v.usage.Files))
		}
	}
}
