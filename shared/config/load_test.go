package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/config"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte("device:\n  id: box-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	cfg, err := config.Load(file)
	if err != nil || cfg.Device.ID != "box-1" {
		t.Errorf("got id %q, error %v; want box-1", cfg.Device.ID, err)
	}
	if cfg, err := config.Load(""); err != nil || !reflect.DeepEqual(cfg, config.Default()) {
		t.Errorf("no file: got %+v, error %v; want the defaults", cfg, err)
	}

	missing := filepath.Join(dir, "missing.yaml")
	if _, err := config.Load(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: got %v, want fs.ErrNotExist with the path", err)
	}
	if _, err := config.Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("folder: got %v, want an error with the path", err)
	}
	if _, err := config.Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("endless file: got %v, want it refused by its size", err)
	}
}

func TestLoad_NamesTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("logging:\n  level: loud\nport: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(file)
	want := file + `:2: logging.level: want debug, info, warn or error, got "loud"` + "\n" + file + ":3: port: unknown key"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestParse_NothingIsTheDefaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":                        "",
		"newline":                      "\n",
		"carriage return":              "\r\n",
		"byte order mark":              "\uFEFF",
		"only comments":                "# nothing\n\n  # here\n\t# but comments\n",
		"document start":               "---\n",
		"document start and end":       "---\n...\n",
		"null":                         "null\n",
		"empty mapping":                "{}\n",
		"sections of comments":         "remote:\n  # url: x\nstorage:\nnetwork:   # nothing\n",
		"tables of comments":           "device:\n  labels:\n    # site: a\nremote:\n  headers:\n",
		"a collector without settings": "collection:\n  collectors:\n",
	} {
		if got := parse(t, text); !reflect.DeepEqual(got, config.Default()) {
			t.Errorf("%s: got %+v, want the defaults", name, got)
		}
	}
}

func TestParse_Encodings(t *testing.T) {
	t.Parallel()
	const text = "device:\n  id: box-1\n  labels:\n    site: 'Zürich'\nnetwork:\n  include:\n    - 'wwan.*'\n"
	want := parse(t, text)
	if want.Device.Labels["site"] != "Zürich" {
		t.Errorf("got site %q, want Zürich", want.Device.Labels["site"])
	}
	for name, variant := range map[string]string{
		"byte order mark":     "\uFEFF" + text,
		"windows line ends":   strings.ReplaceAll(text, "\n", "\r\n"),
		"windows notepad":     "\uFEFF" + strings.ReplaceAll(text, "\n", "\r\n"),
		"no line end at last": strings.TrimSuffix(text, "\n"),
		"document markers":    "---\n" + text + "...\n",
	} {
		if got := parse(t, variant); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestParse_FaultsOfTheText(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text    string
		want    []string
		message string
	}{
		"not UTF-8":              {"device:\n  id: \xff\xfe\n", []string{"2"}, "not UTF-8"},
		"UTF-16":                 {"\xff\xfed\x00e\x00v\x00", []string{"1"}, "UTF-16"},
		"UTF-16 big endian":      {"\xfe\xff\x00d\x00e", []string{"1"}, "UTF-16"},
		"NUL":                    {"device:\n\n  id: a\x00b\n", []string{"3"}, "U+0000"},
		"escape":                 {"# \x1b[31m\n", []string{"1"}, "U+001B"},
		"old Mac line ends":      {"device:\r  id: a\r", []string{"1"}, "U+000D"},
		"next line":              {"device:\u0085", []string{"1"}, "U+0085"},
		"line separator":         {"# a\n# b\u2028id: x\n", []string{"2"}, "U+2028"},
		"mark in the middle":     {"a: b\n\uFEFFc: d\n", []string{"2"}, "U+FEFF"},
		"tabs":                   {"device:\n\tid: a\n\t# comment\n \tlabels: {}\n", []string{"2", "4"}, "tab"},
		"tabs, windows line end": {"device:\r\n\tid: a\r\n", []string{"2"}, "tab"},
		"a database":             {"SQLite format 3\x00\x10\x00\x02", []string{"1"}, "control character"},
		"too large":              {strings.Repeat("# filler\n", 40_000), []string{"1"}, "larger than"},
		"second document":        {"device:\n  id: a\n---\ndevice:\n  id: b\n", []string{"3"}, "second document"},
		"empty second document":  {"device:\n  id: a\n---\n", []string{"3"}, "second document"},
		"document behind an end": {"device:\n...\n---\nx: y\n", []string{"3"}, "second document"},
	} {
		faults := faultsOf(t, tc.text)
		if got := places(faults); !slices.Equal(got, tc.want) || !strings.Contains(faults.Error(), tc.message) {
			t.Errorf("%s: got\n%v\nwant lines %q and %q", name, faults, tc.want, tc.message)
		}
	}
}

func TestParse_FaultsOfTheSyntax(t *testing.T) {
	t.Parallel()
	filler := strings.Repeat("# filler\n", 200)
	for name, tc := range map[string]struct {
		text    string
		line    int
		message string
	}{
		"first line":             {"device: [\n", 1, "a bracket is not closed"},
		"odd indentation":        {"remote:\n  url: x\n  timeout: 30s\n bad: 1\n", 4, "check the indentation"},
		"deep in a long section": {"remote:\n  url: x\n" + filler + "  timeout: 1s\n - x\n", 204, "not YAML"},
		"open quote":             {"remote:\n  url: \"http://h\n  timeout: 30s\nlogging:\n", 2, "a quote is not closed"},
		"open quote, long file":  {"remote:\n  url: \"http://h\n" + filler, 2, "a quote is not closed"},
		"open bracket":           {"network:\n  exclude: [a, b\nstorage:\n  path: /x\n", 2, "a bracket is not closed"},
		"open bracket, long":     {"network:\n  exclude: [a, b,\n" + strings.Repeat("    c,\n", 200), 2, "a bracket is not closed"},
		"regexp in quotes":       {"network:\n  exclude:\n  - 'lo'\n  - \"br-\\d\"\n", 4, "single quotes"},
		"star":                   {"network:\n  exclude:\n  - *docker\n", 3, "not YAML"},
		"lonely star":            {"network:\n  exclude:\n  - *\n", 3, "put a value that begins with * or & in quotes"},
		"at sign":                {"device:\n  id: @box\n", 2, "put the value in quotes"},
		"colon in a value":       {"device:\n  id: a: b\n", 2, "needs quotes"},
		"no colon":               {"device:\n  id box\n  labels: {}\n", 3, "on the line above"},
		"in the second document": {"device:\n---\na: [\n", 3, "not YAML"},
		"two roots":              {"{}{}", 1, "not YAML"},
	} {
		faults := faultsOf(t, tc.text)
		if len(faults) != 1 || faults[0].Line != tc.line || !strings.Contains(faults[0].Message, tc.message) {
			t.Errorf("%s: got\n%v\nwant one on line %d with %q", name, faults, tc.line, tc.message)
		}
	}
}

func TestFault_String(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]config.Fault{
		"f.yaml:3: a.b: wrong": {File: "f.yaml", Line: 3, Key: "a.b", Message: "wrong"},
		"f.yaml:3: wrong":      {File: "f.yaml", Line: 3, Message: "wrong"},
		"a.b: wrong":           {Key: "a.b", Message: "wrong"},
		"wrong":                {Message: "wrong"},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
