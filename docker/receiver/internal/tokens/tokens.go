// Package tokens knows which device a bearer token stands for.
//
// It promises that a token is never kept: the file and the memory hold SHA-256 hashes; that hashes are compared in
// constant time; that a change of the file counts within a second or two, without a restart; and that a file which has
// become unusable leaves the tokens as they were and says so. It does not slow down who guesses: a token must be random
// and long (New makes one of 256 bits), and then guessing is hopeless.
//
// The file has a line for each device and token, the token's hash in hexadecimal behind the device's id:
//
//	# studio 2
//	encoder-07  9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// A device may have several tokens, to change them one after the other, and a token may stand for several devices: for
// a device that was renamed and still has samples under its old id.
package tokens

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Set maps tokens to devices. It does not change.
type Set struct {
	// By the first bytes of the hash. Whoever would learn something from how long the map takes knows hashes, not tokens.
	entries map[[8]byte][]entry
	tokens  int
}

type entry struct {
	hash    [sha256.Size]byte
	devices []string // sorted
}

// Devices returns the devices that the token stands for, sorted; none for a token that is not known.
func (s *Set) Devices(token string) []string {
	hash := sha256.Sum256([]byte(token))
	var found []string
	for _, e := range s.entries[[8]byte(hash[:8])] {
		if subtle.ConstantTimeCompare(e.hash[:], hash[:]) == 1 {
			found = e.devices
		}
	}
	return found
}

// Len is the number of tokens.
func (s *Set) Len() int { return s.tokens }

var (
	// deviceID is what device.id of the configuration may be.
	deviceID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	tokenSum = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
)

// ValidDevice tells whether id can be the id of a device.
func ValidDevice(id string) bool { return deviceID.MatchString(id) }

// Parse reads the text of a file. The error names the first line that is wrong, but nothing of its second word: it may
// be a token that somebody forgot to hash.
func Parse(text string) (*Set, error) {
	s := &Set{entries: map[[8]byte][]entry{}}
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		switch {
		case len(fields) != 2:
			return nil, fmt.Errorf("line %d: want a device id and a hash", number)
		case !ValidDevice(fields[0]):
			return nil, fmt.Errorf("line %d: the device id is not 1 to 128 letters, digits and . _ : -", number)
		case !tokenSum.MatchString(fields[1]):
			return nil, fmt.Errorf("line %d: the second word is not a SHA-256 in hexadecimal; receiver -new-token %s prints a line",
				number, fields[0])
		}
		sum, err := hex.DecodeString(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if !s.add(fields[0], [sha256.Size]byte(sum)) {
			return nil, fmt.Errorf("line %d: the same line stands twice", number)
		}
	}
	return s, nil
}

// add returns false if it is known already.
func (s *Set) add(device string, hash [sha256.Size]byte) bool {
	key := [8]byte(hash[:8])
	i := slices.IndexFunc(s.entries[key], func(e entry) bool { return e.hash == hash })
	if i < 0 {
		s.tokens++
		i = len(s.entries[key])
		s.entries[key] = append(s.entries[key], entry{hash: hash})
	}
	e := &s.entries[key][i]
	at, found := slices.BinarySearch(e.devices, device)
	if !found {
		e.devices = slices.Insert(e.devices, at, device)
	}
	return !found
}

// New returns a new token of 256 random bits and its line for the file.
func New(device string) (token, line string, err error) {
	if !ValidDevice(device) {
		return "", "", fmt.Errorf("%q is not a device id: want 1 to 128 letters, digits and . _ : -", device)
	}
	token = rand.Text() + rand.Text() // 130 bits each
	return token, fmt.Sprintf("%s  %x\n", device, sha256.Sum256([]byte(token))), nil
}
