package store

import (
	"os"
	"path/filepath"
)

// syncFolders makes the names of dir and of all directories above it survive a power cut. SQLite
// syncs the directory that the database is in, but not those above, and a directory that was just
// created, by us or by a package, may otherwise be lost with everything in it. It does so at each
// start: the process that made them may have been killed before it could.
//
// A directory that cannot be opened or synced is none that this user made, or on a file system that
// has no such thing.
func syncFolders(dir string) {
	for {
		above := filepath.Dir(dir)
		if above == dir {
			return
		}
		if f, err := os.Open(above); err == nil {
			_ = f.Sync()
			_ = f.Close()
		}
		dir = above
	}
}
