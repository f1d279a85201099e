package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

// decoder sets the fields of a value from a YAML tree and continues after each fault. The decoder
// of package yaml reports some faults only when others are corrected, and reports lines without
// keys.
type decoder struct {
	lines  map[string]int // where each key of the file stands, by path
	faults Faults
}

func (d *decoder) fault(key, format string, args ...any) {
	d.faults = append(d.faults, Fault{Line: d.lines[key], Key: key, Message: fmt.Sprintf(format, args...)})
}

// value sets v from n. What is wrong leaves v as it was.
func (d *decoder) value(key string, n *yaml.Node, v reflect.Value) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fault(key, "anchors and aliases (& and *) are not supported: write the value out")
		return
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(key, "YAML tags (!) are not supported")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.section(key, n, v)
	case reflect.Map:
		d.table(key, n, v)
	case reflect.Slice:
		d.list(key, n, v)
	case reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		before := len(d.faults)
		d.value(key, n, target.Elem())
		if len(d.faults) == before {
			v.Set(target)
		}
	default:
		if message := setScalar(n, v); message != "" {
			d.fault(key, "%s", message)
		}
	}
}

// section sets the fields of a struct.
func (d *decoder) section(key string, n *yaml.Node, v reflect.Value) {
	d.entries(key, n, func(child, name string, value *yaml.Node) {
		field, ok := fieldByTag(v, name)
		if !ok {
			d.fault(child, "unknown key%s", didYouMean(key, name, v.Type()))
			return
		}
		d.value(child, value, field)
	})
}

// table adds entries to a map whose keys the user chooses.
func (d *decoder) table(key string, n *yaml.Node, v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.entries(key, n, func(child, name string, value *yaml.Node) {
		entry := reflect.New(v.Type().Elem()).Elem()
		d.value(child, value, entry)
		v.SetMapIndex(reflect.ValueOf(name), entry)
	})
}

// list replaces a slice. A faulty item leaves an empty one, so that the others
// keep their numbers.
func (d *decoder) list(key string, n *yaml.Node, v reflect.Value) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.fault(key, "has no value: write [] for an empty list, or delete the key to take the default")
		return
	case n.Kind != yaml.SequenceNode:
		d.fault(key, "want a list, got %s", describe(n))
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		child := itemKey(key, i)
		d.lines[child] = item.Line
		d.value(child, item, items.Index(i))
	}
	v.Set(items)
}

// entries calls visit for each entry of a mapping and reports what is wrong with
// the keys themselves. A section whose keys are all commented out is null to
// YAML and has no entries.
func (d *decoder) entries(key string, n *yaml.Node, visit func(child, name string, value *yaml.Node)) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return
	case n.Kind != yaml.MappingNode:
		d.fault(key, `want lines of "key: value", got %s`, describe(n))
		return
	}
	first := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || k.Anchor != "" || k.Style&yaml.TaggedStyle != 0 {
			d.faults = append(d.faults, Fault{
				Line: k.Line, Key: key,
				Message: "a key is plain text; merges (<<), anchors (&), aliases (*) and tags (!) are not supported",
			})
			continue
		}
		child := childKey(key, k.Value)
		d.lines[child] = k.Line
		if line, repeated := first[k.Value]; repeated {
			d.fault(child, "already set on line %d", line)
		} else {
			first[k.Value] = k.Line
		}
		visit(child, k.Value, value)
	}
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// childKey returns the path of name in section key. Odd names are quoted, so that
// a fault stays on one line.
func childKey(key, name string) string {
	switch {
	case !plainKey.MatchString(name):
		return key + "[" + strconv.Quote(name) + "]"
	case key == "":
		return name
	}
	return key + "." + name
}

// itemKey returns the path of item i of list key, counted from 0.
func itemKey(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// fieldByTag returns the field of struct v with the YAML name.
func fieldByTag(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}
