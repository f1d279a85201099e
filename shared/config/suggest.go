package config

import (
	"reflect"
	"strings"
)

// didYouMean returns "; did you mean …?" for the unknown key name in the section
// of type t at path section, or nothing. A key of just that name elsewhere in the
// file is a likelier meaning than a similar one here.
func didYouMean(section, name string, t reflect.Type) string {
	var elsewhere []string
	for _, path := range keyPaths("", reflect.TypeFor[Config]()) {
		if path != section && (path == name || strings.HasSuffix(path, "."+name)) {
			elsewhere = append(elsewhere, path)
		}
	}
	if len(elsewhere) == 1 {
		return "; did you mean " + elsewhere[0] + "?"
	}
	var here []string
	for field := range t.Fields() {
		here = append(here, field.Tag.Get("yaml"))
	}
	if best := nearest(name, here); best != "" {
		return "; did you mean " + childKey(section, best) + "?"
	}
	return ""
}

// keyPaths returns the paths of all sections and keys of t that stand in the file
// under a fixed name.
func keyPaths(section string, t reflect.Type) []string {
	var paths []string
	for field := range t.Fields() {
		path := childKey(section, field.Tag.Get("yaml"))
		paths = append(paths, path)
		if field.Type.Kind() == reflect.Struct {
			paths = append(paths, keyPaths(path, field.Type)...)
		}
	}
	return paths
}

// nearest returns the candidate that name is most likely a misspelling of, or
// nothing. Case and the separators "_" and "-" do not count.
func nearest(name string, candidates []string) string {
	plain := strings.NewReplacer("_", "", "-", "")
	fold := func(s string) string { return plain.Replace(strings.ToLower(s)) }
	word := fold(name)
	if word == "" || len(word) > 64 {
		return ""
	}
	best, bestDistance := "", 2+len(word)/4
	for _, candidate := range candidates {
		c := fold(candidate)
		distance := editDistance(word, c)
		if len(word) >= 4 && strings.HasPrefix(c, word) {
			distance = min(distance, 1)
		}
		if distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	return best
}

// editDistance counts the bytes to insert, delete or replace to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
