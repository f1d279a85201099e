package config

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// machineIDFiles are asked in this order; see machine-id(5).
var machineIDFiles = [...]string{"/etc/machine-id", "/var/lib/dbus/machine-id"}

var (
	machineID       = regexp.MustCompile(`^[0-9a-f]{32}$`)
	notInDeviceID   = regexp.MustCompile(`[^A-Za-z0-9._:-]+`)
	deviceIDPadding = ".-_:"
)

// ResolveDeviceID returns the device_id of the samples: device.id where it is
// set, else "dev-" and 16 hexadecimal digits made of the machine id, else the host
// name with "-" for what an id cannot hold. The machine id itself is confidential
// and is never returned; the hash is our own, so that it does not reveal what
// other programs call this machine.
//
// An empty result means that the machine has neither: it must not send then, for
// its samples would mix with those of others. Ask for device.id.
func ResolveDeviceID(c Config, readFile func(string) ([]byte, error), hostname func() (string, error)) string {
	if c.Device.ID != "" {
		return c.Device.ID
	}
	for _, file := range machineIDFiles {
		data, err := readFile(file)
		if err != nil {
			continue
		}
		// During the first boot the file is empty or says "uninitialized".
		id := strings.ToLower(strings.TrimSpace(string(data)))
		if !machineID.MatchString(id) || strings.Trim(id, "0") == "" {
			continue
		}
		sum := sha256.Sum256([]byte("belabox-metrics device id v1\n" + id))
		return "dev-" + hex.EncodeToString(sum[:8])
	}
	name, err := hostname()
	if err != nil {
		return ""
	}
	id := strings.TrimLeft(notInDeviceID.ReplaceAllString(name, "-"), deviceIDPadding)
	return strings.TrimRight(id[:min(len(id), 128)], deviceIDPadding)
}
