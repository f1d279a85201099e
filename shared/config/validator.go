package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// validator collects the faults of values that were read. One fault a key is
// enough, so keys that already have one are left alone, also by the rules between
// several keys: those would judge a default that is not in the file.
type validator struct {
	cfg    *Config
	lines  map[string]int // where the keys stand; empty without a file
	faulty map[string]bool
	faults Faults
}

func newValidator(cfg *Config, lines map[string]int, faults Faults) *validator {
	v := &validator{cfg: cfg, lines: lines, faulty: map[string]bool{}, faults: faults}
	for _, f := range faults {
		v.faulty[f.Key] = true
	}
	return v
}

// fault reports a value that is wrong by itself.
func (v *validator) fault(key, format string, args ...any) {
	if v.faulty[key] {
		return
	}
	v.faulty[key] = true
	v.faults = append(v.faults, Fault{Line: v.lines[key], Key: key, Message: fmt.Sprintf(format, args...)})
}

// clash reports values that do not go together, at the first of their keys that
// stands in the file.
func (v *validator) clash(keys []string, format string, args ...any) {
	at := keys[0]
	for _, key := range keys {
		if v.faulty[key] {
			return
		}
		if v.lines[at] == 0 && v.lines[key] > 0 {
			at = key
		}
	}
	v.fault(at, format, args...)
}

// number checks low <= got <= high.
func number[N cmp.Ordered](v *validator, key string, got, low, high N) {
	if !(low <= got && got <= high) { // so that NaN is a fault too
		v.fault(key, "want %v to %v, got %v", low, high, got)
	}
}

// span checks low <= got <= high.
func (v *validator) span(key string, got, low, high time.Duration) {
	if got < low || got > high {
		v.fault(key, "want %s to %s, got %s", short(low), short(high), short(got))
	}
}

// choice checks that got is one of the options.
func (v *validator) choice(key, got string, options ...string) {
	if slices.Contains(options, got) {
		return
	}
	last := len(options) - 1
	v.fault(key, "want %s or %s, got %q", strings.Join(options[:last], ", "), options[last], clip(got))
}

// path checks that a file or directory is named in full: a daemon has no directory of
// its own to start from. The path is not quoted, it may be a secret pasted into
// the wrong key.
func (v *validator) path(key, path string) {
	switch {
	case path == "":
		v.fault(key, "empty: want an absolute path")
	case !filepath.IsAbs(path):
		v.fault(key, "want an absolute path, beginning with /")
	case !printable(path):
		v.fault(key, "contains a control character")
	}
}

// optionalPath is path for a key that may be empty.
func (v *validator) optionalPath(key, path string) {
	if path != "" {
		v.path(key, path)
	}
}

// printable reports whether s is text on one line.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// short writes a duration as people do: 24h, not 24h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
