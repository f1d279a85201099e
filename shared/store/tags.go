package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// CanonicalTags returns tags as a JSON object with sorted names and no spaces,
// the form that identifies a series: equal sets give equal bytes. Of two tags
// with one name the last wins. Invalid UTF-8 becomes U+FFFD, as JSON demands.
func CanonicalTags(tags []Tag) string {
	if len(tags) == 0 {
		return "{}"
	}
	sorted := make([]Tag, len(tags))
	for i, t := range tags {
		sorted[i] = Tag{validUTF8(t.Name), validUTF8(t.Value)}
	}
	slices.SortStableFunc(sorted, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	b.WriteByte('{')
	for i, t := range sorted {
		if i+1 < len(sorted) && sorted[i+1].Name == t.Name {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		writeJSONString(&b, t.Name)
		b.WriteByte(':')
		writeJSONString(&b, t.Value)
	}
	b.WriteByte('}')
	return b.String()
}

// validUTF8 replaces each byte that is no UTF-8 by U+FFFD, as encoding/json does,
// but before names are sorted and compared.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// ParseTags reads a JSON object of tags back, sorted by name. Values that are
// no strings keep their JSON text, because older files hold numbers and booleans.
func ParseTags(object string) ([]Tag, error) {
	if object == "" || object == "{}" {
		return nil, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &raw); err != nil {
		return nil, fmt.Errorf("tags %q: %w", object, err)
	}
	tags := make([]Tag, 0, len(raw))
	for name, value := range raw {
		text := validUTF8(string(value))
		if text != "" && text[0] == '"' {
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, fmt.Errorf("tags %q: %w", object, err)
			}
		}
		tags = append(tags, Tag{name, text})
	}
	slices.SortFunc(tags, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	return tags, nil
}

// writeJSONString writes s quoted. The escapes are those of encoding/json
// without HTML escaping, so that a person can read "<" in the file.
func writeJSONString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	b.Truncate(b.Len() - 1)
}
