//go:build linux && (amd64 || arm64)

package powercut

import (
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// kernelSide answers the kernel's questions from a disk. Locks and shared memory
// are left to the kernel, which does both for processes of one mount.
type kernelSide struct {
	fuse.RawFileSystem // says that there is no such thing
	d                  *disk
}

// cached is how long the kernel may believe what it knows: nobody but itself
// changes the disk.
const cached = time.Hour

func (k kernelSide) attr(n *node, out *fuse.Attr) {
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	*out = fuse.Attr{Ino: n.ino, Mode: n.mode, Nlink: 1, Blksize: 4096}
	if n.file != nil {
		out.Size = uint64(n.file.size())
		out.Blocks = (out.Size + sectorSize - 1) / sectorSize
	}
	out.Uid, out.Gid = uint32(os.Geteuid()), uint32(os.Getegid())
	out.SetTimes(nil, &n.mtime, &n.mtime)
}

func (k kernelSide) entry(n *node, out *fuse.EntryOut) {
	out.NodeId = n.ino
	out.SetEntryTimeout(cached)
	out.SetAttrTimeout(cached)
	k.attr(n, &out.Attr)
}

func status(errno syscall.Errno) fuse.Status { return fuse.Status(errno) }

// Lookup finds a name.
func (k kernelSide) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	n, errno := k.d.lookup(k.d.find(in.NodeId), name)
	if errno == 0 {
		k.entry(n, out)
	}
	return status(errno)
}

// GetAttr answers stat.
func (k kernelSide) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	k.attr(k.d.find(in.NodeId), &out.Attr)
	out.SetTimeout(cached)
	return fuse.OK
}

// SetAttr changes the size or the mode; owner and times stay.
func (k kernelSide) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := k.d.find(in.NodeId)
	if size, ok := in.GetSize(); ok {
		if errno := k.d.resize(n, int64(size)); errno != 0 {
			return status(errno)
		}
	}
	if mode, ok := in.GetMode(); ok {
		k.d.mu.Lock()
		n.mode = n.mode&syscall.S_IFMT | mode
		k.d.mu.Unlock()
	}
	k.attr(n, &out.Attr)
	out.SetTimeout(cached)
	return fuse.OK
}

// Mkdir makes a directory.
func (k kernelSide) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	n, errno := k.d.create(k.d.find(in.NodeId), name, syscall.S_IFDIR|in.Mode&^in.Umask)
	if errno == 0 {
		k.entry(n, out)
	}
	return status(errno)
}

// Create makes a file and opens it.
func (k kernelSide) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	n, errno := k.d.create(k.d.find(in.NodeId), name, syscall.S_IFREG|in.Mode&^in.Umask)
	if errno == 0 {
		k.entry(n, &out.EntryOut)
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
	return status(errno)
}

// Unlink removes a file; who has it open keeps it.
func (k kernelSide) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(k.d.remove(k.d.find(in.NodeId), name))
}

// Rmdir removes an empty directory.
func (k kernelSide) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(k.d.remove(k.d.find(in.NodeId), name))
}

// Rename moves a file or a directory; flags are not supported.
func (k kernelSide) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	return status(k.d.move(k.d.find(in.NodeId), name, k.d.find(in.Newdir), newName))
}

// Open keeps what the kernel has cached of the file: another process may have
// mapped it.
func (k kernelSide) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// Read reads what processes see.
func (k kernelSide) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n := k.d.read(k.d.find(in.NodeId), buf, int64(in.Offset))
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write writes at an offset; the kernel knows about O_APPEND.
func (k kernelSide) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if errno := k.d.write(k.d.find(in.NodeId), data, int64(in.Offset)); errno != 0 {
		return 0, status(errno)
	}
	return uint32(len(data)), fuse.OK
}

// Flush is close(2), which makes nothing certain.
func (k kernelSide) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Fsync is fsync(2) and fdatasync(2) of a file.
func (k kernelSide) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return status(k.d.sync(k.d.find(in.NodeId)))
}

// FsyncDir is fsync(2) of a directory.
func (k kernelSide) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return status(k.d.sync(k.d.find(in.NodeId)))
}

// OpenDir has nothing to prepare.
func (k kernelSide) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

// ReadDir lists a directory.
func (k kernelSide) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	list := k.d.list(k.d.find(in.NodeId))
	for _, entry := range list[min(int(in.Offset), len(list)):] {
		if !out.AddDirEntry(entry) {
			break
		}
	}
	return fuse.OK
}

// StatFs tells of room enough.
func (k kernelSide) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Blocks: 1 << 20, Bfree: 1 << 19, Bavail: 1 << 19, Files: 1 << 16, Ffree: 1 << 15, Bsize: 4096, Frsize: 4096, NameLen: 255}
	return fuse.OK
}
