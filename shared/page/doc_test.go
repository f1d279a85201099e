package page

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDoc_NamesEveryKey: docs/page.md has each key of the answers.
func TestDoc_NamesEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/page.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ.PkgPath() != reflect.TypeFor[status]().PkgPath() {
			return // of another package, which describes it
		}
		for field := range typ.Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if key != "" {
				seen++
				if !strings.Contains(string(text), "`"+key+"`") && !strings.Contains(string(text), `"`+key+`"`) && !strings.Contains(string(text), "."+key+"`") {
					t.Errorf("docs/page.md lacks %s", key)
				}
			}
			walk(field.Type)
		}
	}
	walk(reflect.TypeFor[status]())
	walk(reflect.TypeFor[chart]())
	walk(reflect.TypeFor[busiest]())
	walk(reflect.TypeFor[ledger]())
	if seen < 60 {
		t.Errorf("got %d keys", seen)
	}
}

// TestDoc_MetricsExist: each metric that the page looks at is in docs/metrics.md.
func TestDoc_MetricsExist(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("assets/charts.js")
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Clone(boardMetrics)
	for _, m := range regexp.MustCompile(`'([a-z]+\.[a-z_0-9]+)':`).FindAllStringSubmatch(string(script), -1) {
		names = append(names, m[1])
	}
	for _, name := range names {
		if !strings.Contains(string(table), "`"+name+"`") {
			t.Errorf("docs/metrics.md has no %s", name)
		}
	}
	if len(names) < 25 {
		t.Errorf("got %d names", len(names))
	}
}
