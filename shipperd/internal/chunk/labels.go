package chunk

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"belabox-metrics/shared/store"
)

// What every VictoriaMetrics keeps of a series without its flags. Beyond these it
// answers 204 and drops the sample (v1.150, above 40 labels) or cuts labels off,
// which stores it under another series (v1.79, above 30).
const (
	MaxLabels     = 30   // the name among them
	MaxNameBytes  = 256  // of a metric's name and of a label's name
	MaxValueBytes = 4096 // of a label's value
)

const (
	nameLabel   = "__name__"
	deviceLabel = "device_id"
)

// head is what a Builder keeps of a series.
type head struct {
	series *store.SeriesInfo
	open   string // the line up to its first value
	reason Reason // why no sample of it can be sent, "" = they can
	detail string
}

func (h *head) sendable() bool {
	return h.reason == "" && h.series.Fault == "" && h.series.Type != store.Text
}

// maxHeads bounds what the series of a strange file can take: some 15 MB.
const maxHeads = 50_000

// headOf returns the head of a series, from the last body if it was there.
func (b *Builder) headOf(id int64, info *store.SeriesInfo) *head {
	if h := b.heads[id]; h != nil && h.series == info {
		return h
	}
	if len(b.heads) >= maxHeads {
		clear(b.heads)
	}
	labels := Labels(info)
	h := &head{series: info, open: `{"metric":` + Text(labels) + `,"values":[`}
	h.reason, h.detail = refusal(labels)
	b.heads[id] = h
	return h
}

// refusal says why VictoriaMetrics would not store a series as it is.
func refusal(labels []store.Tag) (Reason, string) {
	if len(labels) > MaxLabels {
		return TooManyLabels, fmt.Sprintf("%d labels, at most %d are stored", len(labels), MaxLabels)
	}
	for _, l := range labels {
		switch {
		case l.Name == nameLabel && len(l.Value) > MaxNameBytes:
			return NameTooLong, fmt.Sprintf("the name has %d bytes, at most %d are stored", len(l.Value), MaxNameBytes)
		case len(l.Name) > MaxNameBytes:
			return LabelTooLong, fmt.Sprintf("label %.40q... has %d bytes, at most %d are stored", l.Name, len(l.Name), MaxNameBytes)
		case len(l.Value) > MaxValueBytes:
			return LabelTooLong, fmt.Sprintf("the value of label %q has %d bytes, at most %d are stored", l.Name, len(l.Value), MaxValueBytes)
		}
	}
	return "", ""
}

// Labels returns the labels of a series as they are sent, sorted by name:
// __name__, device_id and the tags. Labels without a value are left out, as the
// server has it. A tag whose name is taken, by device_id or, after labelName, by
// another tag, is called tag_<name>, then tag_<name>_2 and so on.
func Labels(s *store.SeriesInfo) []store.Tag {
	labels := make([]store.Tag, 0, len(s.Tags)+2)
	taken := map[string]bool{nameLabel: true, deviceLabel: true}
	labels = append(labels, store.Tag{Name: nameLabel, Value: MetricName(s.Name)})
	if s.Device != "" {
		labels = append(labels, store.Tag{Name: deviceLabel, Value: valid(s.Device)})
	}
	// A tag that needs no change keeps its name against one that does. The tags
	// are sorted, so the outcome does not depend on their order.
	var changed []store.Tag
	for _, t := range s.Tags {
		switch {
		case t.Value == "":
		case labelName(t.Name) != t.Name || taken[t.Name]:
			changed = append(changed, t)
		default:
			taken[t.Name] = true
			labels = append(labels, store.Tag{Name: t.Name, Value: valid(t.Value)})
		}
	}
	for _, t := range changed {
		name := labelName(t.Name)
		for n := 1; taken[name]; n++ {
			name = "tag_" + labelName(t.Name)
			if n > 1 {
				name += "_" + strconv.Itoa(n)
			}
		}
		taken[name] = true
		labels = append(labels, store.Tag{Name: name, Value: valid(t.Value)})
	}
	slices.SortFunc(labels, func(a, b store.Tag) int { return strings.Compare(a.Name, b.Name) })
	return labels
}

// Text returns labels as a JSON object, in their order: of Labels the text that
// is in a line, and a key to find a series by.
func Text(labels []store.Tag) string {
	b := make([]byte, 0, 64*len(labels)+2)
	b = append(b, '{')
	for i, l := range labels {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, l.Name)
		b = append(b, ':')
		b = appendQuoted(b, l.Value)
	}
	return string(append(b, '}'))
}

// appendQuoted writes valid UTF-8 as a JSON string, with no more escapes than
// JSON demands.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch ch := s[i]; {
		case ch == '"', ch == '\\':
			b = append(b, '\\', ch)
		case ch < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
		default:
			b = append(b, ch)
		}
	}
	return append(b, '"')
}

// valid replaces what is no UTF-8, which JSON cannot carry, by U+FFFD.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
