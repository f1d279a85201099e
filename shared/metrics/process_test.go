package metrics

import (
	"os"
	"testing"
)

func TestBytesWritten(t *testing.T) {
	t.Parallel()
	_, err := os.Stat("/proc/self/io")
	n, ok := bytesWritten()
	if kernelCounts := err == nil; ok != kernelCounts || n < 0 {
		t.Errorf("got %d, %v; the kernel counts: %v", n, ok, kernelCounts)
	}
}
