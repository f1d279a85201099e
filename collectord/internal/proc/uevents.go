package proc

// Uevents tells whether devices may have come, gone or changed their names, by the number of events
// (uevents) that the kernel has counted since the boot. It counts one whenever a device is added,
// removed, renamed, moved to another network namespace or changed; those of all namespaces, and
// also if nobody listens. A device loses its name in this order: it leaves its kernel file, then
// the event is counted, then another device can get the name. So two readings of a kernel file have
// the same devices under their names if the number behind each of them, read after the file, is the
// same.
//
// That a device gets a name is not told as well: a renamed interface is listed before its event, a
// disk long before it. So a device that was on its way during a look needs another look.
// Source: lib/kobject_uevent.c; the order: dev_change_name, unregister_netdevice_many_notify and
// __dev_change_net_namespace in net/core/dev.c, del_gendisk in block/genhd.c, device_del in
// drivers/base/core.c.
type Uevents struct {
	file    *File  // nil: cannot be read
	number  uint64 // at the last Moved; 0 = not known
	settled uint64 // at the last Settle
}

// NewUevents names the file, which everybody may read; nothing is opened yet.
func NewUevents(fs FS) *Uevents {
	return &Uevents{file: NewSingle(fs.SysPath("kernel/uevent_seqnum"))}
}

// Moved reads the number and returns whether it is another one than that of the last Settle. It is
// true wherever the number cannot be read.
func (u *Uevents) Moved() bool {
	u.number = 0
	if u.file == nil {
		return true
	}
	text, err := u.file.Read()
	if err == nil {
		err = parseUintFile(text, &u.number)
	}
	if err != nil {
		u.number, u.file = 0, nil // this kernel will not have it later either
	}
	return u.number == 0 || u.number != u.settled
}

// Settle says that everything was looked at since the last Moved and holds for its number.
func (u *Uevents) Settle() { u.settled = u.number }
