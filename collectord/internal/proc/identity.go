package proc

import "strings"

// Identity reads the number by which the kernel tells a device from others that have had its name.
// Each reading looks at the device's entry in its class, and reads the number only if that is
// another entry: a file that is held open stays that of its device, also when the name has gone to
// another.
type Identity struct {
	entry, path []byte // end with a NUL, as the kernel wants it
	buf         [32]byte
	stat        stat
	mark        mark   // of the entry that has last
	last        uint64 // 0 = read again
}

// InterfaceIndex returns the ifindex of a network interface.
// Source: Documentation/ABI/testing/sysfs-class-net.
func InterfaceIndex(fs FS, name string) *Identity {
	return newIdentity(fs.SysPath("class/net", name), "ifindex")
}

// DiskNumber returns the sequence number of a block device, which no other has had since the boot.
// Of kernels before 5.15, which have none, it returns the size.
// Source: Documentation/ABI/stable/sysfs-block.
func DiskNumber(fs FS, device string) *Identity {
	i := newIdentity(diskPath(fs, device, ""), "diskseq")
	if i.Read() == 0 {
		i = newIdentity(diskPath(fs, device, ""), "size")
	}
	return i
}

// diskPath returns the path of an attribute of a block device. sysfs cannot have the slash of a
// name like "cciss/c0d0" and writes "!".
func diskPath(fs FS, device, attribute string) string {
	return fs.SysPath("block", strings.ReplaceAll(device, "/", "!"), attribute)
}

func newIdentity(entry, attribute string) *Identity {
	return &Identity{entry: append([]byte(entry), 0), path: append([]byte(entry+"/"+attribute), 0)}
}

// Read returns the number, 0 if there is none: such a device is known by its name alone.
func (i *Identity) Read() uint64 {
	now, ok := i.look()
	if ok && i.last != 0 && now == i.mark {
		return i.last
	}
	i.mark, i.last = now, 0
	if text := i.read(); text == nil || parseUintFile(text, &i.last) != nil {
		i.last = 0
	}
	return i.last
}
