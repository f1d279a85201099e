package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// shellPattern finds a letter or dash repeated at the end, which a name hardly
// ever needs and the patterns of a shell often have.
var shellPattern = regexp.MustCompile(`(^|[^\\])[A-Za-z_-]\*$`)

// CompileName compiles a pattern of network.include, network.exclude or
// disk.allowed_devices: an RE2 regular expression that matches whole names only.
func CompileName(pattern string) (*regexp.Regexp, error) {
	switch {
	case pattern == "":
		return nil, errors.New("empty pattern: it matches no name")
	case !printable(pattern):
		return nil, errors.New("contains a control character")
	}
	// First by itself: "a)(b" would be sound between our parentheses.
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("not a regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if shellPattern.MatchString(pattern) {
		stem := strings.TrimSuffix(pattern, "*")
		return nil, fmt.Errorf("%q is a pattern of the shell: as a regular expression write %q", pattern, stem+".*")
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}
