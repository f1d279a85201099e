// Package secret reads files that hold secrets.
//
// It promises that a file which strangers may read, or which anybody but its owner may change, is refused, and that no
// error holds a part of the content. It does not promise that the memory is wiped.
package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Read returns the content of a file of at most limit bytes. Its mode may let its group read (0640, 0440), as systemd's
// credentials and containers need it, but nobody else do anything.
func Read(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return "", fmt.Errorf("%q is not a file", path)
	case mode.Perm()&0o027 != 0:
		return "", fmt.Errorf("%q has mode %04o: others may read or change it; run: chmod 600 %s", path, mode.Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", err
	}
	if int64(len(text)) > limit {
		return "", fmt.Errorf("%q is larger than %d bytes", path, limit)
	}
	return string(text), nil
}

// maxLine is more than any password or token needs and less than a wrong file has.
const maxLine = 16 << 10

// ReadLine reads a file that holds one secret and at most a line end behind it.
func ReadLine(path string) (string, error) {
	text, err := Read(path, maxLine)
	if err != nil {
		return "", err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	switch {
	case text == "":
		return "", fmt.Errorf("%q is empty", path)
	case strings.ContainsFunc(text, control):
		return "", errors.New("a control character or a second line is in " + path)
	}
	return text, nil
}
