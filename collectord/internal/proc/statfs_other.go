//go:build !linux

package proc

import "fmt"

// Statfs is ErrNotSupported: mount points come from a kernel that is Linux.
func Statfs(path string) (FilesystemUsage, error) {
	return FilesystemUsage{}, fmt.Errorf("statfs %s: %w", path, ErrNotSupported)
}
