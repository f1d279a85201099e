// Package secret reads files that hold secrets.
//
// It promises that a file which others may read or change is refused, and
// that no error holds a part of the content. It does not promise that the memory is
// wiped.
package secret

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"belabox-metrics/shared/datafile"
)

// read returns the content of a file that nobody but its owner may read or change.
func read(path string) (string, error) {
	f, err := datafile.OpenNamed(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	others := os.FileMode(0o177)
	if IsCredential(path) {
		others = 0o137
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		return "", fmt.Errorf("%q has mode %04o: others may read or change it; run: %s",
			path, mode, datafile.AsOwner(path, "chmod 600 "+datafile.Quote(path)))
	}
	text, err := datafile.ReadFrom(f, maxLine)
	return string(text), err
}

// IsCredential reports whether path is one of systemd's credentials. They show mode 0440, because
// of an access list for the service's user, and are in a directory that only the service can enter.
// https://systemd.io/CREDENTIALS/
func IsCredential(path string) bool {
	// Outside of the service the directory is not known: then any below systemd's counts.
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(dir) {
		dir = "/run/credentials"
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel) && rel != "."
}

// maxLine is more than any password or token needs and less than a wrong file has.
const maxLine = 16 << 10

// ReadLine reads a file that holds one secret. The line end behind it and the byte order mark that
// some editors write before it are no part of it. It refuses an empty one and control characters.
func ReadLine(path string) (string, error) {
	text, err := read(path)
	if err != nil {
		return "", err
	}
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case text == "":
		return "", fmt.Errorf("%q is empty", path)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("%q contains a control character or a second line", path)
	}
	return text, nil
}
