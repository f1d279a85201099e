package selector

import (
	"slices"
	"testing"
)

func TestRestrict(t *testing.T) {
	t.Parallel()
	f := func(text string, values []string, want string) {
		t.Helper()
		if got := Restrict(text, "device_id", values); got != want {
			t.Errorf("%s, %q: got %s, want %s", text, values, got, want)
		}
		if _, err := Parse(want); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	one := []string{"d"}
	f(`m`, one, `m{device_id="d"}`)
	f(` m `, one, `m{device_id="d"}`)
	f(`m{}`, one, `m{device_id="d"}`)
	f(`m{ }`, one, `m{device_id="d"}`)
	f(`{a="b"}`, one, `{device_id="d",a="b"}`)
	f(`{a="b",}`, one, `{device_id="d",a="b",}`)
	f(`{a="{"}`, one, `{device_id="d",a="{"}`)
	f(`{device_id="other"}`, one, `{device_id="d",device_id="other"}`)
	f(`m`, []string{"a.1", "b"}, `m{device_id=~"a\\.1|b"}`)
	f(`m`, nil, `m{device_id=~"$."}`)
}

// FuzzRestrict: what Parse takes can be narrowed, and then picks of the same series those of the device and no others.
func FuzzRestrict(f *testing.F) {
	for _, text := range []string{
		`m`, `m{}`, `{a="b"}`, `m{a!="b",c=~"x|y"}`, `{device_id=~".*"}`, `{device_id!="d"}`, "{a=`{`}", `{a='"}',b="\\"}`, ` m { a = "b" , } `,
	} {
		f.Add(text, "d", "v")
	}
	f.Fuzz(func(t *testing.T, text, device, value string) {
		wide, err := Parse(text)
		if err != nil {
			return
		}
		for _, devices := range [][]string{{"d"}, {"d", "e.1"}, {}} {
			narrow, err := Parse(Restrict(text, "device_id", devices))
			if err != nil {
				t.Fatalf("%q became %q: %v", text, Restrict(text, "device_id", devices), err)
			}
			for _, id := range []string{device, "d", "e.1", "e-1", ""} {
				get := func(name string) string {
					if name == "device_id" {
						return id
					}
					return value
				}
				if got, want := narrow.Matches(get), wide.Matches(get) && slices.Contains(devices, id); got != want {
					t.Errorf("%q for %q: device %q: got %v, want %v", text, devices, id, got, want)
				}
			}
		}
	})
}
