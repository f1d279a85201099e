package sample

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belabox-metrics/collectord/internal/proc"
	"belabox-metrics/shared/store"
)

// harness runs one collector over fixture trees, tick after tick.
type harness struct {
	t         testing.TB
	dir       string // the tree that the collector reads
	at        time.Time
	collector Collector
	batch     Batch
}

// newHarness makes a collector that reads a copy of the fixture trees, later
// ones over earlier ones.
func newHarness(t *testing.T, create func(fs proc.FS, reg *Registry) Collector, trees ...string) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir(), at: time.Unix(1795450000, 0)}
	for _, tree := range trees {
		h.lay(tree)
	}
	h.collector = create(h.fs(), &Registry{Device: "dev"})
	return h
}

func (h *harness) fs() proc.FS {
	return proc.FS{Proc: filepath.Join(h.dir, "proc"), Sys: filepath.Join(h.dir, "sys")}
}

// lay puts the files of a fixture tree over those that are there, into the same
// inodes, so that a file held open sees them as it would see the kernel's.
func (h *harness) lay(tree string) {
	h.t.Helper()
	from := filepath.Join("../proc/testdata", tree)
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(h.dir, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			_ = os.Remove(to) // may not be there
			return os.Symlink(target, to)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o644)
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// write puts one file into the tree.
func (h *harness) write(path, text string) {
	h.t.Helper()
	path = filepath.Join(h.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// files returns the paths of all files in the tree, sorted.
func (h *harness) files() []string {
	h.t.Helper()
	var list []string
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, strings.TrimPrefix(path, h.dir+"/"))
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// read returns the text of a file in the tree.
func (h *harness) read(path string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, path))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// remove takes a file or folder out of the tree.
func (h *harness) remove(path string) {
	h.t.Helper()
	if err := os.RemoveAll(filepath.Join(h.dir, path)); err != nil {
		h.t.Fatal(err)
	}
}

// tick collects, 10 s after the tick before.
func (h *harness) tick() (values, error) {
	h.at = h.at.Add(10 * time.Second)
	h.batch.Begin(h.at, nil)
	err := h.collector.Collect(h.at, &h.batch)
	return valuesOf(h.batch.Samples), err
}

// mustTick collects and wants no error of the collector nor of a sensor.
func (h *harness) mustTick() values {
	h.t.Helper()
	v, err := h.tick()
	if err != nil || len(h.batch.Errors) > 0 {
		h.t.Fatalf("collect: %v, sensors: %v", err, h.batch.Errors)
	}
	return v
}

// values are samples by name and, if there are any, tags: cpu.usage_percent{"core":"0"}.
type values map[string]any

func valuesOf(samples []store.Sample) values {
	v := values{}
	for _, s := range samples {
		key := s.Series.Name
		if s.Series.Tags != "{}" {
			key += s.Series.Tags
		}
		if s.Series.Type == store.Text {
			v[key] = s.Text
		} else {
			v[key] = s.Value
		}
	}
	return v
}

// want fails for each value that differs; nil stands for no sample.
func (v values) want(t *testing.T, want values) {
	t.Helper()
	for key, value := range want {
		if v[key] != value {
			t.Errorf("%s = %v (%T), want %v (%T)", key, v[key], v[key], value, value)
		}
	}
}
