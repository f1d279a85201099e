//go:build !linux

package proc

import "fmt"

type rawStatfs struct{}

func newRawStatfs(string) rawStatfs { return rawStatfs{} }

// Usage is ErrNotSupported: mount points come from a kernel that is Linux.
func (s *FilesystemStat) Usage() (FilesystemUsage, error) {
	return FilesystemUsage{}, fmt.Errorf("statfs %s: %w", s.path, ErrNotSupported)
}
