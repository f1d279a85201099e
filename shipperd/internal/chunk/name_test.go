package chunk

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"belabox-metrics/shared/store"
)

func TestMetricName(t *testing.T) {
	t.Parallel()
	f := func(name, want string) {
		t.Helper()
		if got := MetricName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	// Names of the catalogue change in nothing but their dots.
	for _, name := range []string{
		"cpu.usage_percent", "cpu.frequency_hertz", "memory.total_bytes", "memory.used_bytes", "disk.read_bytes_total", "disk.busy_percent",
		"disk.written_bytes_per_second", "network.receive_bytes_total", "thermal.zone_celsius", "hwmon.temp_celsius", "load.average_1m",
		"system.uptime_seconds", "filesystem.files_free", "pressure.cpu_some_percent", "collector.collection_duration_seconds_bucket",
		"storage.wal_checkpoint_duration_ms", "uploader.metrics_rejected_total", "time.skew_ms",
	} {
		f(name, strings.ReplaceAll(name, ".", "_"))
	}
	// Names of others stay as they are.
	f("a:b", "a:b")
	f("node_memory_HugePages_Total", "node_memory_HugePages_Total")
	f("my_load_pct", "my_load_pct")
	f("9lives", "_9lives")
	f("", "_")
	f("tempé.zone-1", "temp__zone_1")
	f("\xff\xfe", "__")
	// Units at the end have one spelling.
	f("disk.read_byte", "disk_read_bytes")
	f("disk.read.Bytes", "disk_read_bytes")
	f("cpu.pct", "cpu_percent")
	f("cpu.usage-percentage", "cpu_usage_percent")
	f("zone.degC", "zone_celsius")
	f("errors.totals", "errors_total")
	f("bytes", "bytes")
	f("byte", "byte")
	f("_byte", "_byte")
	f("byte.count", "byte_count")
	f("kilobyte", "kilobyte")
	// Names of textfiles are known to others as they are.
	f("go_memstats_alloc_byte", "go_memstats_alloc_byte")
	f("battery_pct", "battery_pct")
	f("job:errors:Totals", "job:errors:Totals")
}

func TestNames_Properties(t *testing.T) {
	t.Parallel()
	metric := regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	label := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9._ %-]{0,8}[._](byte|Bytes|PCT|percentage|degC|totals)?`),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "name")
		if got := MetricName(name); !metric.MatchString(got) || MetricName(got) != got {
			t.Errorf("%q gives %q and that %q", name, got, MetricName(got))
		}
		if got := labelName(name); !label.MatchString(got) || labelName(got) != got {
			t.Errorf("%q gives %q and that %q", name, got, labelName(got))
		}
	})
}

func TestLabels(t *testing.T) {
	t.Parallel()
	f := func(device, tags, want string) {
		t.Helper()
		parsed, err := store.ParseTags(tags)
		if err != nil {
			t.Fatal(err)
		}
		if got := Text(Labels(&store.SeriesInfo{Device: device, Name: "n", Tags: parsed})); got != want {
			t.Errorf("%s: %s, want %s", tags, got, want)
		}
	}
	f("d", `{}`, `{"__name__":"n","device_id":"d"}`)
	f("", `{}`, `{"__name__":"n"}`)
	f("d", `{"core":"0","a":"1","z":"2"}`, `{"__name__":"n","a":"1","core":"0","device_id":"d","z":"2"}`)
	f("d", `{"empty":"","x":"1"}`, `{"__name__":"n","device_id":"d","x":"1"}`)
	f("d", `{"device_id":"e","__name__":"f"}`, `{"__name__":"n","device_id":"d","tag___name__":"f","tag_device_id":"e"}`)
	f("", `{"device_id":"e"}`, `{"__name__":"n","tag_device_id":"e"}`)
	f("d", `{"device.id":"e","tag_device_id":"f"}`, `{"__name__":"n","device_id":"d","tag_device_id":"f","tag_device_id_2":"e"}`)
	// A name that is right as it is stays.
	f("d", `{"a-b":"1","a.b":"2","a_b":"3"}`, `{"__name__":"n","a_b":"3","device_id":"d","tag_a_b":"1","tag_a_b_2":"2"}`)
	f("d", `{"a-b":"1","a_b":""}`, `{"__name__":"n","a_b":"1","device_id":"d"}`)
	f("d", `{"1a":"1","":"2"}`, `{"_":"2","_1a":"1","__name__":"n","device_id":"d"}`)
	f("d\"\\\xff", `{"a":"\u0001\n</é"}`, `{"__name__":"n","a":"\u0001\u000a</é","device_id":"d\"\\`+"\uFFFD"+`"}`)
}

func TestLabels_Properties(t *testing.T) {
	t.Parallel()
	tag := rapid.Custom(func(t *rapid.T) store.Tag {
		return store.Tag{
			Name: rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
				"a.b", "a_b", "a-b", "tag_a_b", "tag_a_b_2", "device_id", "device.id", "__name__", "tag_device_id",
			})).Draw(t, "name"),
			Value: rapid.String().Draw(t, "value"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		tags := rapid.SliceOfNDistinct(tag, 0, 8, func(t store.Tag) string { return t.Name }).Draw(t, "tags")
		slices.SortFunc(tags, func(a, b store.Tag) int { return strings.Compare(a.Name, b.Name) })
		labels := Labels(&store.SeriesInfo{Device: "d", Name: "n", Tags: tags})
		want := 2
		for _, tag := range tags {
			if tag.Value != "" {
				want++
			}
		}
		seen := map[string]bool{}
		for i, l := range labels {
			if l.Value == "" || labelName(l.Name) != l.Name || seen[l.Name] || i > 0 && labels[i-1].Name > l.Name {
				t.Errorf("labels %v", labels)
			}
			seen[l.Name] = true
		}
		if len(labels) != want || !seen["__name__"] || !seen["device_id"] {
			t.Errorf("%d labels of %d tags: %v", len(labels), len(tags), labels)
		}
	})
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	f := func(want Reason, name string, labels ...store.Tag) {
		t.Helper()
		got, detail := refusal(Labels(&store.SeriesInfo{Device: "d", Name: name, Tags: labels}))
		if got != want || (detail == "") != (want == "") {
			t.Errorf("%q (%s), want %q", got, detail, want)
		}
	}
	many := func(n int) (tags []store.Tag) {
		for i := range n {
			tags = append(tags, store.Tag{Name: fmt.Sprintf("l%03d", i), Value: "v"})
		}
		return tags
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	f("", "n", many(MaxLabels-2)...)
	f(TooManyLabels, "n", many(MaxLabels-1)...)
	f("", x(MaxNameBytes))
	f(NameTooLong, x(MaxNameBytes+1))
	f("", "n", store.Tag{Name: x(MaxNameBytes), Value: x(MaxValueBytes)})
	f(LabelTooLong, "n", store.Tag{Name: x(MaxNameBytes + 1), Value: "v"})
	f(LabelTooLong, "n", store.Tag{Name: "l", Value: x(MaxValueBytes + 1)})
}
