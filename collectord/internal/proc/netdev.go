package proc

import (
	"bytes"
	"errors"
	"os"
	"strings"
)

// NetDevStat is one network interface in /proc/net/dev. The counters
// start at 0 with the interface. A 32-bit kernel and some drivers keep them in
// 32 bits, where a fast link wraps them in less than a minute.
type NetDevStat struct {
	Name []byte // valid until the next Read

	ReceiveBytes, ReceivePackets, ReceiveErrors uint64
	ReceiveDrops                                uint64 // including those for which the hardware had no buffer

	TransmitBytes, TransmitPackets, TransmitErrors, TransmitDrops uint64

	Counts []byte // all numbers of the line, valid until the next Read
}

// NetDev reads /proc/net/dev: the interfaces of the network namespace of this
// process, or of process 1 where the procfs is not the own one, as in a
// container that looks at its host.
// Source: proc_pid_net(5), net/core/net-procfs.c.
type NetDev struct {
	file *File
	list []NetDevStat
}

// NewNetDev names the file; nothing is opened yet.
func NewNetDev(fs FS) *NetDev { return &NetDev{file: NewFile(fs.netPath("dev"))} }

// Read returns one entry for each interface. A bad number is Absent, a line without its columns is
// left out, and the error of the first comes beside the list.
func (d *NetDev) Read() ([]NetDevStat, error) {
	text, err := d.file.Read()
	if err != nil {
		return nil, err
	}
	d.list, err = parseNetDev(text, d.list[:0])
	return d.list, inFile(d.file.Path(), err)
}

// NewNetLines is NewLines of a file below net, of the same network namespace as NewNetDev.
func NewNetLines(fs FS, name string) *Reader[struct{}] { return NewLines(fs.netPath(name)) }

// netPath returns the path of a file below net. Another procfs than the own one
// answers for the namespace of process 1. Only in a plain tree of files, as a
// test makes, net itself can be used: in a procfs it is a link to the
// reader's own namespace, and its numbers would be those of the wrong machine.
func (fs FS) netPath(name string) string {
	plain := fs.ProcPath("net", name)
	if fs.isOwn() {
		return plain
	}
	first := fs.ProcPath("1", "net", name)
	if _, err := os.Stat(first); err != nil && isFolder(fs.ProcPath("net")) {
		return plain
	}
	return first
}

// isFolder is false for a link to a directory.
func isFolder(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// IsPhysical reports whether an interface has hardware behind it: a card, a
// modem, a USB adapter; not a bridge, tunnel, VLAN or one end of a pair. Where
// sysfs cannot be seen no interface has.
// Source: the "device" link of Documentation/ABI/testing/sysfs-class-net.
func IsPhysical(fs FS, name string) bool {
	if strings.ContainsRune(name, '/') {
		return false // no interface, and no way out of the directory
	}
	_, err := os.Stat(fs.SysPath("class/net", name, "device"))
	return err == nil
}

var (
	errHeader = errors.New("not the header of this file")
	errColon  = errors.New("no colon after the name")
)

// parseNetDev appends the interfaces in text to list.
func parseNetDev(text []byte, list []NetDevStat) ([]NetDevStat, error) {
	text, err := skipNetHeader(text)
	if err != nil {
		return list, err
	}
	list, err = parseLines(text, netHeaderLines+1, list, parseNetDevStat)
	if _, isWhole := wholeLines(text); !isWhole && len(list) > 0 {
		list[len(list)-1].Counts = nil // digits may be missing
	}
	return list, err
}

const netHeaderLines = 2

// skipNetHeader cuts the two header lines off net/dev and net/wireless. They
// are recognised by their position, since an interface may have a "|" in its name too;
// a text without them is another file and gives nothing.
func skipNetHeader(text []byte) (rest []byte, err error) {
	for n := 1; n <= netHeaderLines; n++ {
		var line []byte
		line, text = NextLine(text)
		if !bytes.ContainsRune(line, '|') {
			return nil, parseError(n, line, errHeader)
		}
	}
	return text, nil
}

func parseNetDevStat(line []byte) (n NetDevStat, bad, err error) {
	name, rest, err := cutInterface(line)
	if err != nil {
		return n, nil, err
	}
	n.Name, n.Counts = name, rest
	bad, err = parseCounts(rest,
		&n.ReceiveBytes, &n.ReceivePackets, &n.ReceiveErrors, &n.ReceiveDrops, nil, nil, nil, nil,
		&n.TransmitBytes, &n.TransmitPackets, &n.TransmitErrors, &n.TransmitDrops, nil, nil, nil, nil)
	return n, bad, err
}

// cutInterface cuts the name of an interface off a line. The last colon ends
// it: an alias such as "eth0:1" has one of its own, the numbers have none, and
// a wide number follows the colon without a space.
func cutInterface(line []byte) (name, rest []byte, err error) {
	colon := bytes.LastIndexByte(line, ':')
	if colon < 0 {
		return nil, nil, errColon
	}
	name = bytes.TrimLeft(line[:colon], " \t")
	if len(name) == 0 {
		return nil, nil, errColon
	}
	return name, line[colon+1:], nil
}
