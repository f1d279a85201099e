package config

import (
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// parseYAML returns the root of the one document in lines, nil where there is
// none, and the faults of the file's shape.
func parseYAML(lines []string) (*yaml.Node, Faults) {
	r := &lineReader{lines: lines}
	root, second, err := readDocuments(r)
	if err != nil {
		return nil, Faults{{Line: faultyLine(lines, r.served), Message: syntaxMessage(err)}}
	}
	var faults Faults
	if second > 0 {
		faults = Faults{{Line: second, Message: `second document: a configuration is one, delete the "---"`}}
	}
	return root, faults
}

// readDocuments returns the root of the first document and the line on which a
// second one begins, 0 for none.
func readDocuments(r io.Reader) (root *yaml.Node, second int, err error) {
	// Earlier versions of the parser panicked on some malformed input. To a user
	// that is a fault of the file like any other.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	dec := yaml.NewDecoder(r)
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case err == io.EOF:
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	switch err := dec.Decode(&more); {
	case err == io.EOF:
		return doc.Content[0], 0, nil
	case err != nil:
		return nil, 0, err
	}
	return doc.Content[0], more.Line, nil
}

// faultyLine returns the line that makes lines bad YAML, knowing that the parser
// gave up when it had seen the first served of them. The parser's own line is
// often where the surrounding section begins. The last line whose predecessors
// are good YAML is what a person calls the place: where a section is broken, or
// where a quote or bracket was opened and never closed.
func faultyLine(lines []string, served int) int {
	good := func(n int) bool {
		_, _, err := readDocuments(&lineReader{lines: lines[:n]})
		return err == nil
	}
	served = min(served, len(lines))
	const near = 50
	for n := served - 1; n >= max(0, served-near); n-- {
		if good(n) {
			return n + 1
		}
	}
	// Far away it is an open quote or bracket, and then every shorter text up to
	// it is good and every longer one is not.
	return max(1, sort.Search(served, func(n int) bool { return !good(n + 1) })+1)
}

// lineReader hands out one line a call, so that served tells how far a parser
// has read.
type lineReader struct {
	lines  []string
	rest   string
	served int
}

func (r *lineReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.served == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.served] + "\n"
		r.served++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// syntaxHints are the usual causes of the messages of the parser.
var syntaxHints = []struct{ message, hint string }{
	{"mapping values are not allowed", `check the indentation and the ":" on the line above; a value that contains ": " needs quotes`},
	{"did not find expected key", "check the indentation and the quotes"},
	{"did not find expected '-' indicator", "check the indentation"},
	{"could not find expected ':'", `a key needs a ":" and a space behind it`},
	{"cannot start any token", "put the value in quotes"},
	{"unknown escape character", `a \ needs single quotes: 'br-\d+'`},
	{"found unexpected end of stream", "a quote is not closed"},
	{"did not find expected ',' or", "a bracket is not closed"},
	{"did not find expected node content", "a bracket is not closed"},
	{"did not find expected alphabetic or numeric", "put a value that begins with * or & in quotes"},
}

func syntaxMessage(err error) string {
	message := yamlPrefix.ReplaceAllString(err.Error(), "")
	for _, h := range syntaxHints {
		if strings.Contains(message, h.message) {
			return fmt.Sprintf("not YAML: %s (%s)", message, h.hint)
		}
	}
	return "not YAML: " + message
}
