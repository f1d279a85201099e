package selector

import (
	"regexp"
	"strconv"
	"strings"
)

// Restrict returns the text of a selector that picks what text picks and has one of the values for the label besides.
// The text must be one that Parse has taken: its first brace is then the one that opens the conditions. No value at all
// picks nothing.
func Restrict(text, label string, values []string) string {
	condition := label + "=" + strconv.Quote(strings.Join(values, ""))
	if len(values) != 1 {
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = regexp.QuoteMeta(v)
		}
		// Without a value: no text matches the end before a character.
		pattern := "$."
		if len(values) > 0 {
			pattern = strings.Join(quoted, "|")
		}
		condition = label + "=~" + strconv.Quote(pattern)
	}
	name, conditions, found := strings.Cut(text, "{")
	if !found {
		return strings.TrimSpace(name) + "{" + condition + "}"
	}
	if strings.HasPrefix(strings.TrimSpace(conditions), "}") {
		return name + "{" + condition + "}"
	}
	return name + "{" + condition + "," + conditions
}
