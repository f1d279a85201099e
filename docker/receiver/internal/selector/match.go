package selector

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// The bounds on a regular expression: its text in bytes, and its compiled size in instructions, because a short text
// can ask for millions ((abc){1000} stands for 3000). A list of plain names is no regular expression here and is not
// bounded.
const (
	maxRegexpBytes = 4096
	maxRegexpCost  = 10_000
)

func equals(name, value string) matcher {
	return matcher{name: name, equal: value, test: func(v string) bool { return v == value }}
}

// matches makes the condition that the whole value of a label matches pattern.
func matches(name, pattern string) (matcher, error) {
	if set := alternatives(pattern); set != nil {
		return matcher{name: name, test: func(v string) bool { return set[v] }}, nil
	}
	if len(pattern) > maxRegexpBytes {
		return matcher{}, fmt.Errorf("regular expression %s is too large", excerpt(pattern))
	}
	// Parsed alone first: a pattern such as a)|(b must not reach across the anchors.
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		if fault, ok := errors.AsType[*syntax.Error](err); ok {
			err = errors.New(string(fault.Code)) // the rest of it repeats the pattern at any length
		}
		return matcher{}, fmt.Errorf("regular expression %s: %w", excerpt(pattern), err)
	}
	if cost(tree) > maxRegexpCost {
		return matcher{}, fmt.Errorf("regular expression %s is too large", excerpt(pattern))
	}
	re, err := regexp.Compile("^(?s:" + pattern + ")$")
	if err != nil {
		return matcher{}, fmt.Errorf("regular expression %s: %w", excerpt(pattern), err)
	}
	return matcher{name: name, test: re.MatchString}, nil
}

// alternatives returns the values that a pattern such as eth0|eth1 lists, nil where it is more than such a list.
// Readers ask for hundreds of names that way, and a set answers at once where an automaton walks through them all.
func alternatives(pattern string) map[string]bool {
	set := make(map[string]bool)
	for value := range strings.SplitSeq(pattern, "|") {
		if regexp.QuoteMeta(value) != value {
			return nil
		}
		set[value] = true
	}
	return set
}

// cost estimates how many instructions a pattern compiles to.
func cost(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += cost(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}
