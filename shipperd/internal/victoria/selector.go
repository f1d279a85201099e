package victoria

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"belabox-metrics/shared/store"
)

// Selector picks series at the server.
type Selector struct {
	DeviceID string
	// AnyDevice leaves device_id out, to find series whose device_id was changed. It needs Names.
	AnyDevice bool
	Names     []string    // metric names as sent, each once; none = all
	Labels    []store.Tag // further labels and their values
}

// String returns the selector in the query language:
// {device_id="d",__name__=~"a|b"}.
func (s Selector) String() string {
	b := []byte{'{'}
	if !s.AnyDevice {
		b = append(strconv.AppendQuote(append(b, `device_id=`...), s.DeviceID), ',')
	}
	switch len(s.Names) {
	case 0:
		b = bytes.TrimSuffix(b, []byte{','})
	case 1:
		b = strconv.AppendQuote(append(b, `__name__=`...), s.Names[0])
	default:
		quoted := make([]string, len(s.Names))
		for i, name := range s.Names {
			quoted[i] = regexp.QuoteMeta(name)
		}
		b = strconv.AppendQuote(append(b, `__name__=~`...), strings.Join(quoted, "|"))
	}
	for _, l := range s.Labels {
		b = append(append(append(b, ','), l.Name...), '=')
		b = strconv.AppendQuote(b, l.Value)
	}
	return string(append(b, '}'))
}

// maxNamesBytes bounds the names in one request. The server's limit on a query
// is 16 KiB (-search.maxQueryLen).
const maxNamesBytes = 6000

// within returns the query for a time range, both ends included: nothing if it is empty, because
// the server would interpret that as a different range.
func (s Selector) within(fromMS, toMS int64) []Selector {
	if fromMS > toMS {
		return nil
	}
	return s.split()
}

// split cuts a selector with many names into several that pick the same series,
// each once.
func (s Selector) split() []Selector {
	var parts []Selector
	first, size := 0, 0
	for i, name := range s.Names {
		if size += len(name) + 1; size > maxNamesBytes && i > first {
			part := s
			part.Names = s.Names[first:i]
			parts = append(parts, part)
			first, size = i, len(name)+1
		}
	}
	s.Names = s.Names[first:]
	return append(parts, s)
}
