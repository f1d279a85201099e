package e2e

import (
	"os"
	"strings"
)

// set adds keys to a section of the configuration file.
func (r *rig) set(section, lines string) {
	r.t.Helper()
	text, err := os.ReadFile(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	var added strings.Builder
	for line := range strings.Lines(lines) {
		added.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
	}
	config := "\n" + string(text)
	head, tail, found := strings.Cut(config, "\n"+section+":\n")
	if !found {
		head, tail = strings.TrimRight(config, "\n"), ""
	}
	config = head + "\n" + section + ":\n" + added.String() + tail
	if err := os.WriteFile(r.config, []byte(strings.TrimPrefix(config, "\n")), 0o600); err != nil {
		r.t.Fatal(err)
	}
}
