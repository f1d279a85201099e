package sample

import (
	"testing"

	"belabox-metrics/collectord/internal/proc"
)

// TestFilesystem_RealAllocatesNothing is about the real mount table and statfs.
func TestFilesystem_RealAllocatesNothing(t *testing.T) {
	wantNoAllocations(t, must(NewFilesystem(proc.FS{Proc: "/proc"}, testDevice, FilesystemOptions{})))
}

func BenchmarkFilesystem(b *testing.B) {
	benchCollector(b, must(NewFilesystem(proc.FS{Proc: "/proc"}, testDevice, FilesystemOptions{})))
}
