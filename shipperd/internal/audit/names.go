package audit

import (
	"context"
	"maps"
	"slices"
	"strings"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

// names maps the series of the file to those of the server, and back.
type names struct {
	file   *store.Reader
	times  store.Timeline
	last   int64            // id of the newest series that is known
	byText map[string]int64 // labels as sent → series id
	alias  map[int64]int64  // series that are sent like another one → that one's id
	labels map[string]bool  // names of all labels that we send
	device map[string]bool
	metric map[string]bool // names of the series without a device
}

func newNames(file *store.Reader) *names {
	return &names{
		file: file, byText: map[string]int64{}, alias: map[int64]int64{}, labels: map[string]bool{},
		device: map[string]bool{}, metric: map[string]bool{},
	}
}

// load reads the series that have come since the last call, and the epochs: what was known of them
// never changes.
func (n *names) load(ctx context.Context) (err error) {
	if n.times, err = n.file.Timeline(ctx); err != nil {
		return err
	}
	series, err := n.file.SeriesAfter(ctx, n.last)
	if err != nil {
		return err
	}
	for _, s := range series {
		n.last = max(n.last, s.ID)
		if s.Type == store.Text {
			continue
		}
		labels := chunk.Labels(s)
		text := chunk.Text(labels)
		if first, taken := n.byText[text]; taken {
			n.alias[s.ID] = first // such as "a.b" and "a_b"
		} else {
			n.byText[text] = s.ID
		}
		for _, l := range labels {
			n.labels[l.Name] = true
		}
		device := valueOf(labels, "device_id")
		n.device[device] = true
		if device == "" {
			n.metric[valueOf(labels, "__name__")] = true
		}
	}
	return nil
}

func valueOf(labels []store.Tag, name string) string {
	for _, l := range labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// devices returns the devices whose samples are in the file.
func (n *names) devices() []string { return slices.Sorted(maps.Keys(n.device)) }

// selectors select the file's series at the server, and all other series of the devices.
func (n *names) selectors() []victoria.Selector {
	var selectors []victoria.Selector
	for _, device := range n.devices() {
		sel := victoria.Selector{DeviceID: device}
		if device == "" {
			sel.Names = slices.Sorted(maps.Keys(n.metric))
		}
		selectors = append(selectors, sel)
	}
	return selectors
}

// canonical returns the key under which a row is compared: it has its true time. Series with the
// same name and labels at the server share that of the first.
func (n *names) canonical(row store.Key) store.Key { return n.sentAt(row, n.times.MS(row)) }

// sentAt is canonical for a row that was sent with another timestamp.
func (n *names) sentAt(row store.Key, ms int64) store.Key {
	id := row.SeriesID()
	if first, ok := n.alias[id]; ok {
		id = first
	}
	return store.PackKey(ms, id)
}

// find returns the series with these labels. Labels that no chunk has were added on the way
// (extra_label) and are ignored where the device_id shows that the series is ours.
func (n *names) find(labels []store.Tag) (id int64, ok bool) {
	if id, ok = n.byText[chunk.Text(labels)]; ok || valueOf(labels, "device_id") == "" {
		return id, ok
	}
	ours := slices.DeleteFunc(slices.Clone(labels), func(l store.Tag) bool { return !n.labels[l.Name] })
	if len(ours) == len(labels) {
		return 0, false
	}
	id, ok = n.byText[chunk.Text(ours)]
	return id, ok
}

// rowsOf returns the keys of all rows that are compared under key.
func (n *names) rowsOf(key store.Key) store.KeySet {
	var keys store.KeySet
	ids := []int64{key.SeriesID()}
	for id, first := range n.alias {
		if first == key.SeriesID() {
			ids = append(ids, id)
		}
	}
	for _, r := range n.times.Ranges(key.TimestampMS(), key.TimestampMS()) {
		for _, id := range ids {
			keys = append(keys, store.PackKey(r.From.TimestampMS(), id))
		}
	}
	return keys.Sorted()
}

// metricName returns the name of a series at the server.
func (n *names) metricName(ctx context.Context, id int64) (string, error) {
	s, err := n.file.Series(ctx, id)
	if err != nil {
		return "", err
	}
	return chunk.MetricName(s.Name), nil
}

// ofDeadLetter returns the key that a dead letter would have at the server.
func (n *names) ofDeadLetter(l store.DeadLetter) (store.Key, bool) {
	tags, err := store.ParseTags(l.Tags)
	if err != nil || l.Type == store.Text || l.TimestampMS < 0 || l.TimestampMS > store.MaxTimestampMS {
		return 0, false
	}
	id, ok := n.find(chunk.Labels(&store.SeriesInfo{Device: l.Device, Name: l.Name, Tags: tags}))
	return store.PackKey(l.TimestampMS, id), ok
}

func (n *names) sortRows(rows []expected) {
	if !slices.IsSortedFunc(rows, bySent) {
		slices.SortFunc(rows, bySent)
	}
}

// describe returns the metric name of labels that are not in the file.
func describe(labels []store.Tag) string {
	name := valueOf(labels, "__name__")
	if strings.TrimSpace(name) == "" {
		return "(no name)"
	}
	return name
}
