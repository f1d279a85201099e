// Package buildinfo identifies the build of a program. It promises one line that differs between
// two builds, also without the Makefile. It does not promise that Version follows a scheme.
package buildinfo

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version and Commit are set by the linker:
//
//	-ldflags "-X belabox-metrics/shared/buildinfo.Version=1.2.3 -X belabox-metrics/shared/buildinfo.Commit=abc1234"
//
// A plain go build leaves Commit empty; String then takes the revision that the Go command stored
// in the binary.
var (
	Version = "2.0.0"
	Commit  = ""
)

// String returns the line that -version prints, for example
// "collectord 1.0.0 (commit 0123456789ab, go1.26.8, linux/amd64)".
func String(program string) string {
	return fmt.Sprintf("%s %s (commit %s, %s, %s/%s)",
		program, Version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func commit() string {
	if Commit != "" {
		return Commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return revision(info.Settings)
}

// revision shortens the stored revision to twelve digits and marks a tree with uncommitted changes,
// because such a build cannot be made again from the commit alone.
func revision(settings []debug.BuildSetting) string {
	rev, dirty := "unknown", ""
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "-dirty"
			}
		}
	}
	return rev + dirty
}
