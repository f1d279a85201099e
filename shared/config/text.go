package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// splitLines returns the lines of a file without their ends. It refuses what is
// no text that an editor shows as it is: other encodings, control characters,
// line ends that only YAML knows, and tabs as indentation.
func splitLines(data []byte) ([]string, Faults) {
	if len(data) > maxFileBytes {
		return nil, Faults{{Line: 1, Message: fmt.Sprintf("larger than %d bytes: this is no configuration file", maxFileBytes)}}
	}
	if bytes.HasPrefix(data, []byte{0xFE, 0xFF}) || bytes.HasPrefix(data, []byte{0xFF, 0xFE}) {
		return nil, Faults{{Line: 1, Message: "UTF-16 text: save the file as UTF-8"}}
	}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	lines := strings.Split(text, "\n")
	var tabs Faults
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		lines[i] = line
		if message := badCharacter(line); message != "" {
			// One is enough: a file with these is often no text at all.
			return nil, Faults{{Line: i + 1, Message: message}}
		}
		content := strings.TrimLeft(line, " \t")
		if indent := line[:len(line)-len(content)]; content != "" && content[0] != '#' && strings.Contains(indent, "\t") {
			tabs = append(tabs, Fault{Line: i + 1, Message: "tab in the indentation: use spaces"})
		}
	}
	return lines, tabs
}

// badCharacter says what in line no configuration needs, or nothing.
func badCharacter(line string) string {
	if !utf8.ValidString(line) {
		return "not UTF-8 text"
	}
	for _, r := range line {
		switch {
		case r == '\t':
		case r < 0x20, r >= 0x7F && r < 0xA0, // C0, DEL, C1 with NEL
			r == 0x2028, r == 0x2029, // line ends to YAML, not to an editor
			r == 0xFEFF, r == 0xFFFE, r == 0xFFFF: // no characters
			return fmt.Sprintf("control character %U", r)
		}
	}
	return ""
}
