//go:build !unix

package logx

import "syscall"

// errnoName returns "": these systems number their errors without symbols.
func errnoName(syscall.Errno) string { return "" }
