//go:build unix

package logx

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName returns the symbol of a system error, "ENOSPC".
func errnoName(e syscall.Errno) string { return unix.ErrnoName(e) }
