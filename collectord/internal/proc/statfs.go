package proc

// FilesystemUsage is the size and the free space of a file system.
type FilesystemUsage struct {
	// Bytes. A pseudo file system has size 0. Available is what others than root
	// can use, less than Free where a part is kept for root.
	Size, Free, Available float64

	// Files is how many inodes there can be; 0 where the file system has no
	// fixed number, and FilesFree then means nothing.
	Files, FilesFree uint64
}
