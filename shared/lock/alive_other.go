//go:build !unix

package lock

import "os"

// alive reports whether there is such a process.
func alive(pid int) bool {
	if pid == 0 {
		return false
	}
	p, err := os.FindProcess(pid) // opens it, on these systems
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}
