package config

import (
	_ "embed"
	"reflect"
	"slices"
	"strings"
)

// defaultYAML is the one place of the defaults: [Default] is read from it, and
// docs/configuration.md and the manual page are made from it.
//
//go:embed default.yaml
var defaultYAML []byte

// DefaultYAML returns the defaults as a commented file: what -print-config prints.
func DefaultYAML() []byte { return slices.Clone(defaultYAML) }

// Default returns the configuration of an empty file. The copies share nothing.
func Default() Config {
	root, faults := parseYAML(strings.Split(string(defaultYAML), "\n"))
	if len(faults) > 0 {
		panic("config: default.yaml: " + faults.Error())
	}
	var cfg Config
	d := decoder{lines: map[string]int{}}
	d.value("", root, reflect.ValueOf(&cfg).Elem())
	if len(d.faults) > 0 {
		panic("config: default.yaml: " + d.faults.Error())
	}
	return cfg
}
