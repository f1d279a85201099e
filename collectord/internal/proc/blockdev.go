package proc

// BlockSizes returns the logical and the physical sector size of a block
// device in bytes: the smallest unit it can be asked for, and the smallest it
// writes without reading first. A device without these files, or a container
// that hides sysfs, is ErrNotSupported.
// Source: Documentation/ABI/stable/sysfs-block.
func BlockSizes(fs FS, device string) (logical, physical uint64, err error) {
	queue := diskPath(fs, device, "queue")
	if logical, err = readUint(queue + "/logical_block_size"); err != nil {
		return 0, 0, err
	}
	if physical, err = readUint(queue + "/physical_block_size"); err != nil {
		return 0, 0, err
	}
	return logical, physical, nil
}

// readUint reads a number once from a file that is not worth holding open.
func readUint(path string) (n uint64, err error) {
	f := NewSingle(path)
	defer f.Close()
	b, err := f.Read()
	if err != nil {
		return 0, notSupported(err)
	}
	return n, inFile(path, parseUintFile(b, &n))
}
