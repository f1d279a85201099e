package config_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"belabox-metrics/shared/config"
)

const machineID = "8b1c9c3e2f6d4a0f9d1e5b7a3c2d4e6f"

// The hash is part of what users have stored: it must never change.
const machineDevice = "dev-edb81131ba45bcdf"

func resolve(id string, files map[string]string, host string, hostErr error) string {
	return config.ResolveDeviceID(config.Config{Device: config.DeviceConfig{ID: id}},
		func(path string) ([]byte, error) {
			text, ok := files[path]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		},
		func() (string, error) { return host, hostErr })
}

func TestResolveDeviceID(t *testing.T) {
	t.Parallel()
	const etc, dbus = "/etc/machine-id", "/var/lib/dbus/machine-id"
	for name, tc := range map[string]struct {
		id      string
		files   map[string]string
		host    string
		hostErr error
		want    string
	}{
		"configured":            {id: "box-1", files: map[string]string{etc: machineID}, host: "h", want: "box-1"},
		"machine id":            {files: map[string]string{etc: machineID + "\n"}, host: "h", want: machineDevice},
		"no line end":           {files: map[string]string{etc: machineID}, host: "h", want: machineDevice},
		"upper case":            {files: map[string]string{etc: strings.ToUpper(machineID)}, host: "h", want: machineDevice},
		"only that of dbus":     {files: map[string]string{dbus: machineID + "\n"}, host: "h", want: machineDevice},
		"first boot, dbus":      {files: map[string]string{etc: "uninitialized\n", dbus: machineID}, host: "h", want: machineDevice},
		"first boot":            {files: map[string]string{etc: "uninitialized\n"}, host: "box", want: "box"},
		"empty":                 {files: map[string]string{etc: ""}, host: "box", want: "box"},
		"short":                 {files: map[string]string{etc: machineID[1:]}, host: "box", want: "box"},
		"null":                  {files: map[string]string{etc: strings.Repeat("0", 32)}, host: "box", want: "box"},
		"missing":               {host: "box.lan", want: "box.lan"},
		"odd host name":         {host: "-büro box/1.", want: "b-ro-box-1"},
		"long host name":        {host: strings.Repeat("x", 300), want: strings.Repeat("x", 128)},
		"no host name":          {hostErr: errors.New("no name")},
		"empty host name":       {host: ""},
		"unusable host name":    {host: "(((", want: ""},
		"kernel's own no name":  {host: "(none)", want: "none"},
		"host name with an end": {host: "box\n", want: "box"},
	} {
		if got := resolve(tc.id, tc.files, tc.host, tc.hostErr); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestResolveDeviceID_NeverTellsTheMachineID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "machine id")
		other := rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "other machine id")
		files := func(id string) map[string]string { return map[string]string{"/etc/machine-id": id} }
		got, gotOther := resolve("", files(id), "h", nil), resolve("", files(other), "h", nil)
		if strings.Contains(got, id[:16]) || strings.Contains(got, id[16:]) {
			t.Fatalf("%s holds half of %s", got, id)
		}
		if (got == gotOther) != (id == other) {
			t.Fatalf("%s and %s give %s and %s", id, other, got, gotOther)
		}
	})
}

// Whatever the host is called, the id would pass as device.id.
func TestResolveDeviceID_IsValid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := resolve("", nil, rapid.String().Draw(t, "host name"), nil)
		cfg := config.Default()
		cfg.Device.ID = id
		if faults := cfg.Validate(); len(faults) > 0 {
			t.Fatalf("%q: %v", id, faults)
		}
	})
}
