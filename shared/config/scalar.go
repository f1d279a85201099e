package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

var durationType = reflect.TypeFor[time.Duration]()

// setScalar sets v, a text, truth value, number or time, from n. It returns what
// is wrong, or nothing. For a key that takes text the value is not shown: it may be
// a secret in the wrong place.
func setScalar(n *yaml.Node, v reflect.Value) (message string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "want one value, got " + describe(n)
	case n.Tag == "!!null":
		return "has no value: delete the key to take the default"
	case v.Type() == durationType:
		d, message := parseDuration(n.Value)
		if message == "" {
			v.SetInt(int64(d))
		}
		return message
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag != "!!str" && n.Tag != "!!merge" { // a value of << is text
			return fmt.Sprintf("want text, got %s: put it in quotes", describe(n))
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			return fmt.Sprintf("want true or false, got %s", shown(n))
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int, reflect.Int64:
		return setInt(n, v)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || !isNumber(n) || !decimal.MatchString(n.Value) {
			return fmt.Sprintf("want a number such as 1.5, got %s", shown(n))
		}
		v.SetFloat(f)
	default:
		panic("config: a field of type " + v.Type().String() + " cannot be read")
	}
	return ""
}

var (
	wholeNumber = regexp.MustCompile(`^[+-]?(0|[1-9][0-9]*)$`)
	decimal     = regexp.MustCompile(`^[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?$`)
	dayOrWeek   = regexp.MustCompile(`^([0-9]{1,4})([dw])$`)
)

// setInt takes decimal numbers only: to YAML 0x10, 0b1, 0o7 and 010 are numbers
// too, and 010 is eight.
func setInt(n *yaml.Node, v reflect.Value) (message string) {
	if !isNumber(n) || !wholeNumber.MatchString(n.Value) {
		return fmt.Sprintf("want a whole number, got %s", shown(n))
	}
	i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
	if err != nil {
		return fmt.Sprintf("number out of range: %s", shown(n))
	}
	v.SetInt(i)
	return ""
}

func isNumber(n *yaml.Node) bool { return n.Tag == "!!int" || n.Tag == "!!float" }

// parseDuration reads a time as Go writes it. A bare number is refused, for
// seconds and milliseconds look the same; 0 is the same in all of them.
func parseDuration(text string) (d time.Duration, message string) {
	if text != "0" && decimal.MatchString(text) {
		return 0, fmt.Sprintf("%s has no unit: write %ss, %sm or %sh", clip(text), clip(text), clip(text), clip(text))
	}
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, ""
	}
	if m := dayOrWeek.FindStringSubmatch(text); m != nil {
		hours, _ := strconv.Atoi(m[1]) // the pattern bounds it
		hours *= map[string]int{"d": 24, "w": 7 * 24}[m[2]]
		return 0, fmt.Sprintf("%s: the largest unit is the hour, write %dh", text, hours)
	}
	return 0, fmt.Sprintf("want a time such as 500ms, 10s, 5m or 24h, got %q", clip(text))
}

// describe names what n is, without its value.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "keys with values"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}

// shown returns the value of n for a message: numbers as they stand, text in quotes.
func shown(n *yaml.Node) string {
	if n.Tag == "!!str" {
		return strconv.Quote(clip(n.Value))
	}
	return clip(n.Value)
}

// clip keeps messages short.
func clip(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
