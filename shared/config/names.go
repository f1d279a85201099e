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

// CompileName compiles a pattern of collection.ignore_sensors, network.include, network.exclude or
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
		return nil, fmt.Errorf("%q is a shell pattern: as a regular expression write %q", pattern, stem+".*")
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// ServicePattern is a pattern of services.
type ServicePattern struct {
	name    string // "" unless the pattern is one
	pattern *regexp.Regexp
}

// CompileService compiles a pattern of services: the name of a unit, in which * and ? stand for
// others as in systemctl. Without an ending it is that of a service.
func CompileService(pattern string) (ServicePattern, error) {
	stem := strings.TrimSuffix(pattern, ".*")
	switch {
	case pattern == "":
		return ServicePattern{}, errors.New("empty: want the name of a unit, such as belaUI.service or srtla*")
	case len(pattern) > 255 || !unitPattern.MatchString(pattern):
		return ServicePattern{}, errors.New(`want the name of a unit, of letters, digits and ":-_.@\\", with * and ? for others`)
	case stem != pattern:
		return ServicePattern{}, fmt.Errorf("%q is a regular expression: as a shell pattern write %q", pattern, stem+"*")
	}
	p := ServicePattern{}
	if !strings.ContainsAny(pattern, "*?") {
		p.name = pattern
		if !strings.HasSuffix(pattern, ".service") && !strings.HasSuffix(pattern, ".scope") {
			p.name += ".service"
		}
	}
	expr := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	var err error
	p.pattern, err = regexp.Compile(`\A(?:` + expr + `)(?:\.service)?\z`)
	return p, err
}

// unitPattern has the characters of systemd's names, and the two that stand for others. How long
// they are it does not count: compiled, {1,255} takes 115 kB.
var unitPattern = regexp.MustCompile(`\A[a-zA-Z0-9:_.@\\*?-]+\z`)

// Name returns the only unit that the pattern matches, if it is no more than a name.
func (p ServicePattern) Name() (name string, ok bool) { return p.name, p.name != "" }

// Match reports whether the pattern matches the name of a unit.
func (p ServicePattern) Match(unit string) bool { return p.pattern.MatchString(unit) }
