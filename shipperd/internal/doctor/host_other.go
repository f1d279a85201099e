//go:build !unix

package doctor

import (
	"errors"
	"io/fs"
)

// Other systems have no numeric owners.

func mayWrite(string) error { return nil }

func owner(fs.FileInfo) (uid, gid uint32) { return 0, 0 }

func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
