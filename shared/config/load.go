package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"belabox-metrics/shared/datafile"
)

// maxFileBytes is far above any configuration and far below what hurts.
const maxFileBytes = 256 << 10

// Packaged is where packages and images put the configuration.
const Packaged = "/etc/belabox-metrics/config.yaml"

// Load reads the file at path; an empty path stands for the defaults. The error
// is [Faults], or that of opening and reading the file.
func Load(path string) (Config, error) {
	if path == "" {
		return Default(), nil
	}
	// A pipe that a shell has opened (/dev/fd/63, /dev/stdin) is as good as a file.
	open := datafile.OpenNamed
	if strings.HasPrefix(path, "/dev/") {
		open = os.Open
	}
	f, err := open(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads data as a configuration file over the defaults. name stands in the
// faults. The error is [Faults], sorted by line, each with a line; the Config is
// empty then.
func Parse(name string, data []byte) (Config, error) {
	cfg, faults := parse(data)
	if len(faults) == 0 {
		return cfg, nil
	}
	for i := range faults {
		faults[i].File = name
	}
	return Config{}, faults.sorted()
}

func parse(data []byte) (Config, Faults) {
	cfg := Default()
	lines, faults := splitLines(data)
	if len(faults) > 0 {
		return cfg, faults
	}
	root, faults := parseYAML(lines)
	if root == nil {
		return cfg, faults
	}
	d := decoder{lines: map[string]int{"": root.Line}, faults: faults}
	d.value("", root, reflect.ValueOf(&cfg).Elem())
	v := newValidator(&cfg, d.lines, d.faults)
	v.all()
	return cfg, v.faults
}
