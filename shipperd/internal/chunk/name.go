package chunk

import "strings"

// units are the last words of a name that mean a unit, with the spelling that
// queries expect.
var units = map[string]string{
	"byte": "bytes", "bytes": "bytes",
	"celsius": "celsius", "degc": "celsius",
	"percent": "percent", "pct": "percent", "percentage": "percent",
	"total": "total", "totals": "total",
}

// MetricName returns name in the form [a-zA-Z_:][a-zA-Z0-9_:]* that PromQL
// understands. A name that has it stays: it is that of a textfile, and others know it.
// Otherwise dots and every other character become underscores, a leading
// digit gets one in front. If the last word is a unit it gets one spelling:
// _bytes, _celsius, _percent, _total. Names of the catalogue change in nothing
// but their dots.
func MetricName(name string) string {
	legal := sanitise(name, true)
	if legal == name {
		return name
	}
	name = legal
	if i := strings.LastIndexByte(name, '_'); i > 0 {
		if unit, ok := units[strings.ToLower(name[i+1:])]; ok {
			return name[:i+1] + unit
		}
	}
	return name
}

// labelName returns name in the form [a-zA-Z_][a-zA-Z0-9_]*, in the same way.
func labelName(name string) string { return sanitise(name, false) }

func sanitise(name string, colons bool) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == ':' && colons:
			return r
		}
		return '_'
	}, name)
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return "_" + s
	}
	return s
}
