package page

import (
	"os"
	"reflect"
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
	walk(reflect.TypeFor[ledger]())
	if seen < 60 {
		t.Errorf("got %d keys", seen)
	}
}
