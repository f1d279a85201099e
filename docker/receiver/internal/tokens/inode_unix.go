//go:build unix

package tokens

import (
	"fmt"
	"io/fs"
	"syscall"
)

// inode tells two files of one name apart.
func inode(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprint(s.Dev, " ", s.Ino)
	}
	return ""
}
