package proc

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// ReadText reads a file that holds one text, without the newline or the NUL at
// its end (the device tree has NULs). The result is valid UTF-8. These files
// change so rarely that nothing is held open.
func ReadText(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", notSupported(err)
	}
	return strings.ToValidUTF8(string(bytes.TrimRight(b, "\x00\n\t ")), "\uFFFD"), nil
}

// BoardModel returns the name of the board: /proc/device-tree/model where there
// is a device tree, else the product name from a PC's firmware. Virtual
// machines may have neither: ErrNotSupported.
func BoardModel(fs FS) (string, error) {
	model, err := ReadText(fs.ProcPath("device-tree/model"))
	if err == nil && model != "" {
		return model, nil
	}
	model, err = ReadText(fs.SysPath("class/dmi/id/product_name"))
	if err == nil && model == "" {
		err = fmt.Errorf("%w: the firmware leaves the product name empty", ErrNotSupported)
	}
	return model, err
}

// KernelRelease returns what uname -r prints.
func KernelRelease(fs FS) (string, error) { return ReadText(fs.ProcPath("sys/kernel/osrelease")) }

// OSReleasePath returns where the os-release file of the machine is. A container
// that looks at its host through another procfs sees the one of process 1, if it
// may (that takes CAP_SYS_PTRACE).
func OSReleasePath(fs FS) string {
	const path = "/etc/os-release"
	if host := fs.ProcPath("1/root", path); !fs.isOwn() {
		if _, err := os.Stat(host); err == nil {
			return host
		}
	}
	return path
}

// OSName returns PRETTY_NAME of an os-release file, for example
// "Debian GNU/Linux 12 (bookworm)". A file without that line is ErrNotSupported.
// Source: os-release(5).
func OSName(path string) (string, error) {
	text, err := ReadText(path)
	if err != nil {
		return "", err
	}
	name := ""
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			name = unquote(value) // as in a shell, the last assignment wins
		}
	}
	if name == "" {
		return "", fmt.Errorf("%w: %s has no PRETTY_NAME", ErrNotSupported, path)
	}
	return name, nil
}

// unquote takes the quoting of a shell off a value: single quotes, or double
// quotes or none with backslashes.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
