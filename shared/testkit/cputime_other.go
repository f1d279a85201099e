//go:build !linux

package testkit

import (
	"errors"
	"time"
)

// ReadCPUTime is for Linux only.
func ReadCPUTime(int) (time.Duration, error) {
	return 0, errors.New("read CPU time of another process: only on Linux")
}
