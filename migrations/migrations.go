// Package migrations holds the schema of the database as numbered SQL files. A file that has landed
// never changes: a test has the hash of each. Migrations go forward only; package store runs them.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed *.sql
var files embed.FS

// Migration takes a database from version Version-1 to Version.
type Migration struct {
	Version int
	Name    string // file name
	SQL     string
}

// All returns the migrations in order, 1 to the newest. The files are part of
// the binary, so a gap in their numbers is a mistake in the program and panics.
func All() []Migration { return load(files) }

func load(files fs.FS) []Migration {
	names, err := fs.Glob(files, "*.sql") // sorted by name
	if err != nil {
		panic(err)
	}
	all := make([]Migration, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		if version, err := strconv.Atoi(number); err != nil || version != i+1 {
			panic(fmt.Sprintf("migrations: file %q is not number %d", name, i+1))
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err)
		}
		all[i] = Migration{Version: i + 1, Name: name, SQL: string(text)}
	}
	return all
}

// Newest is the schema version this binary writes.
func Newest() int { return len(All()) }
